//! Figures, their spread, and the table.

use std::fmt::Write;
use std::time::Duration;

/// Several runs of one measurement.
pub struct Figures {
    sorted: Vec<f64>,
}

impl Figures {
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { sorted: values }
    }

    /// The value below which this share of all lies.
    pub fn quantile(&self, share: f64) -> f64 {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let index = (share * (self.sorted.len() - 1) as f64).round() as usize;
        self.sorted[index]
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    fn spread(&self) -> String {
        format!("{:.0} to {:.0}", self.quantile(0.0), self.quantile(1.0))
    }
}

/// All that was measured.
#[derive(Default)]
pub struct Report {
    rows: Vec<[String; 4]>,
    json: serde_json::Map<String, serde_json::Value>,
}

impl Report {
    pub fn throughput(
        &mut self,
        credentials: usize,
        targets: usize,
        ours: &Figures,
        raw: &Figures,
    ) {
        let share = ours.median() / raw.median();
        let name = format!("one sync, {credentials} x {targets}");
        self.row(
            &name,
            &format!("{:.0} events/s", ours.median()),
            &ours.spread(),
            &format!("{:.0} % of the floor", share * 100.0),
        );
        self.row("  the floor", &format!("{:.0} events/s", raw.median()), &raw.spread(), "");
        self.json.insert(
            format!("sync_{credentials}x{targets}"),
            serde_json::json!({ "events_per_s": ours.median(), "floor_events_per_s": raw.median(), "share": share }),
        );
    }

    pub fn latency(&mut self, all: &Figures) {
        let (p50, p99) = (all.quantile(0.5), all.quantile(0.99));
        let spread = format!("{:.1} to {:.1}", all.quantile(0.0), all.quantile(1.0));
        self.row(
            "one rotate to 4 targets, all acks",
            &format!("p50 {p50:.1} ms"),
            &spread,
            &format!("p99 {p99:.1} ms"),
        );
        self.json.insert("rotate_4".into(), serde_json::json!({ "p50_ms": p50, "p99_ms": p99 }));
    }

    pub fn idle(&mut self, kib: u64) {
        #[allow(clippy::cast_precision_loss)]
        let mib = kib as f64 / 1024.0;
        self.row("idle receive-only peer, resident", &format!("{mib:.1} MiB"), "", "");
        self.json.insert("idle_mib".into(), serde_json::json!(mib));
    }

    pub fn print(&self) {
        let mut text = String::new();
        for [name, median, spread, note] in &self.rows {
            let _ = writeln!(text, "{name:<36} {median:>18}  {spread:<18} {note}");
        }
        println!("\n{:<36} {:>18}  {:<18}\n{text}", "what", "median", "least to most");
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(&self.json).unwrap()
    }

    fn row(&mut self, name: &str, median: &str, spread: &str, note: &str) {
        self.rows.push([name, median, spread, note].map(str::to_owned));
    }
}

pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
