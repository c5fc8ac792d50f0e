//! What operators see of real `propagator serve` processes: metrics and events.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod events;
mod metrics;
mod monitoring;
mod page;
mod peers;
mod readers;
