//! Measures propagation on a private broker and private Redis servers, beside the raw floor: the
//! same two persistent confirmed messages per event through the plain AMQP driver.
//!
//! `cargo bench --bench propagation` runs all of it and prints a table; `-- --json FILE` also writes
//! the figures, `-- --runs N` sets how often each is measured (default 5, after one warm-up).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    dead_code,
    reason = "a measuring program"
)]

mod floor;
mod idle;
#[path = "../support/peers.rs"]
mod peers;
#[path = "../support/report.rs"]
mod report;

use std::time::Duration;

use hmac_propagator_support::Broker;
use report::{Figures, Report};

/// Credentials and targets of one sync.
const SHAPES: [(usize, usize); 3] = [(200, 4), (2000, 4), (10_000, 1)];
const ROTATIONS: usize = 300;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|a| a == "idle-peer") {
        return idle::run(&arguments[at + 1..]).await;
    }
    let runs = report::number("--runs").unwrap_or(5);
    let broker = Broker::start().await.unwrap();
    let mut report = Report::of("propagation");
    for (credentials, targets) in SHAPES {
        let (mut ours, mut raw) = (Vec::new(), Vec::new());
        // Both in turn, so that what else the machine does touches both alike.
        for run in 0..=runs {
            let floor = floor::events_per_second(&broker, credentials * targets, targets).await;
            let sync = peers::events_per_second(&broker, credentials, targets).await;
            if run > 0 {
                raw.push(floor);
                ours.push(sync);
            }
        }
        let (ours, raw) = (Figures::of(ours), Figures::of(raw));
        let share = format!("{:.0} % of the floor", 100.0 * ours.median() / raw.median());
        let shape = format!("one sync, {credentials} x {targets}");
        report.line(&shape, "events/s", &ours, &share);
        report.line(&format!("  the floor of {credentials} x {targets}"), "events/s", &raw, "");
    }
    let latencies = peers::rotation_latencies(&broker, ROTATIONS).await;
    let late = format!("p99 {:.1} ms", latencies.quantile(0.99));
    report.line("one rotate to 4 targets, all acks", "ms", &latencies, &late);
    let resident = idle::resident_kib(&broker, Duration::from_secs(5)).await;
    #[allow(clippy::cast_precision_loss)]
    let resident = Figures::exactly(resident as f64 / 1024.0);
    report.line("idle receive-only peer, resident", "MiB", &resident, "");
    report.end();
}
