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
    reason = "a measuring program"
)]

mod floor;
mod idle;
mod peers;
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
    let runs = value_of(&arguments, "--runs").map_or(5, |n| n.parse().expect("--runs N"));
    let broker = Broker::start().await.unwrap();
    let mut report = Report::default();
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
        report.throughput(credentials, targets, &Figures::of(ours), &Figures::of(raw));
    }
    report.latency(&peers::rotation_latencies(&broker, ROTATIONS).await);
    report.idle(idle::resident_kib(&broker, Duration::from_secs(5)).await);
    report.print();
    if let Some(file) = value_of(&arguments, "--json") {
        std::fs::write(file, report.json()).unwrap();
    }
}

fn value_of(arguments: &[String], name: &str) -> Option<String> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).cloned()
}
