//! What the operator sees: steps, tables, checks and a summary.

use std::time::{Duration, Instant};

/// Collects what was shown, for the summary.
#[derive(Default)]
pub struct Page {
    steps: Vec<Step>,
}

struct Step {
    title: String,
    started: Instant,
    /// The time that counts for the summary, where it is not the step's whole.
    took: Option<Duration>,
    held: usize,
    failed: usize,
}

impl Page {
    /// Starts a step.
    pub fn step(&mut self, title: &str) {
        self.end_step();
        println!("\n{}. {title}", self.steps.len() + 1);
        let started = Instant::now();
        let title = title.to_owned();
        self.steps.push(Step { title, started, took: None, held: 0, failed: 0 });
    }

    /// Says what was done and how long it took.
    pub fn did(&self, what: &str, took: Duration) {
        println!("   {what:<66} {:>9}", time(took));
    }

    /// Says something.
    pub fn note(&self, text: &str) {
        println!("   {text}");
    }

    /// Sets the time that the summary shows for the step.
    pub fn took(&mut self, took: Duration) {
        if let Some(step) = self.steps.last_mut() {
            step.took = Some(took);
        }
    }

    /// Shows rows in aligned columns; the first row is the heading.
    pub fn table<const N: usize>(&self, rows: &[[String; N]]) {
        println!();
        for row in rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
                line.push_str(&format!("{cell:<width$}  "));
            }
            println!("      {}", line.trim_end());
        }
        println!();
    }

    /// Shows whether something held that must hold.
    pub fn check(&mut self, what: &str, holds: bool) {
        println!("   {} {what}", if holds { "ok  " } else { "FAIL" });
        if let Some(step) = self.steps.last_mut() {
            step.held += usize::from(holds);
            step.failed += usize::from(!holds);
        }
    }

    /// Shows all steps and returns whether every check held, and there was one.
    #[must_use]
    pub fn summary(&mut self) -> bool {
        self.end_step();
        println!("\nSummary");
        let mut rows = vec![["step", "time", "checks"].map(str::to_owned)];
        for step in &self.steps {
            let checks = match step.failed {
                0 => format!("{} held", step.held),
                failed => format!("{} held, {failed} FAILED", step.held),
            };
            let took = step.took.unwrap_or_default();
            rows.push([step.title.clone(), format!("{:>9}", time(took)), checks]);
        }
        self.table(&rows);
        let held: usize = self.steps.iter().map(|step| step.held).sum();
        let failed: usize = self.steps.iter().map(|step| step.failed).sum();
        println!("   {held} of {} checks held", held + failed);
        failed == 0 && held > 0
    }

    /// Stops the clock of the last step.
    pub fn end_step(&mut self) {
        if let Some(step) = self.steps.last_mut() {
            step.took.get_or_insert(step.started.elapsed());
        }
    }
}

fn time(took: Duration) -> String {
    match took.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1000.0),
        seconds => format!("{seconds:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_check_fails_the_whole() {
        let mut page = Page::default();
        page.step("a");
        page.check("x", true);
        assert!(page.summary());
        page.check("y", false);
        page.check("z", true);
        assert!(!page.summary());
    }

    #[test]
    fn nothing_checked_is_no_success() {
        assert!(!Page::default().summary());
    }

    #[test]
    fn times_are_short() {
        assert_eq!(time(Duration::from_micros(3_250)), "3.2 ms");
        assert_eq!(time(Duration::from_millis(1_500)), "1.50 s");
    }
}
