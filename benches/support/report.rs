//! Figures, their spread, and the table that each bench ends with; also as JSON.
//!
//! `--json FILE` adds the figures of a bench to a file under the bench's name, so that several benches
//! share one.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// Several runs of one measurement.
pub struct Figures {
    sorted: Vec<f64>,
}

impl Figures {
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { sorted: values }
    }

    /// Of something that is counted and not timed.
    pub fn exactly(value: f64) -> Self {
        Self::of(vec![value])
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
        match self.sorted.len() {
            1 => String::new(),
            _ => format!("{} to {}", shown(self.quantile(0.0)), shown(self.quantile(1.0))),
        }
    }
}

/// All that one bench measured.
pub struct Report {
    bench: &'static str,
    rows: Vec<[String; 4]>,
    json: Map<String, Value>,
}

impl Report {
    pub fn of(bench: &'static str) -> Self {
        Self { bench, rows: Vec::new(), json: Map::new() }
    }

    /// A line of the table: what was measured, in which unit, and what to say of it.
    pub fn line(&mut self, name: &str, unit: &str, figures: &Figures, note: &str) {
        let median = format!("{} {unit}", shown(figures.median()));
        self.rows.push([name, median.trim_end(), &figures.spread(), note].map(str::to_owned));
        let entry = json!({
            "unit": unit,
            "median": figures.median(),
            "least": figures.quantile(0.0),
            "most": figures.quantile(1.0),
            "runs": figures.sorted.len(),
            "note": note,
        });
        self.json.insert(name.trim().to_owned(), entry);
    }

    /// Prints the table, and writes the JSON where the command line says.
    pub fn end(self) {
        let mut text = String::new();
        for [name, median, spread, note] in &self.rows {
            let _ = writeln!(text, "{name:<44} {median:>18}  {spread:<20} {note}");
        }
        println!("\n{:<44} {:>18}  {:<20}\n{text}", self.bench, "median", "least to most");
        let Some(file) = argument("--json") else { return };
        let mut all: Map<String, Value> = match std::fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).unwrap(),
            Err(_) => Map::new(),
        };
        all.insert(self.bench.to_owned(), Value::Object(self.json));
        std::fs::write(file, serde_json::to_string_pretty(&all).unwrap()).unwrap();
    }
}

/// What follows a name on the command line.
pub fn argument(name: &str) -> Option<String> {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).cloned()
}

/// The number after a name on the command line.
pub fn number(name: &str) -> Option<usize> {
    argument(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: expected a number")))
}

pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Three digits that mean something.
fn shown(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}
