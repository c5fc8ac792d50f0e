//! The layer, with the allocator of the system. `layer/measure.rs` says what is measured.

#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used)]
#![allow(unreachable_pub, dead_code, reason = "shares files with other benches")]

#[path = "layer/measure.rs"]
mod measure;
#[path = "support/report.rs"]
mod report;

fn main() {
    measure::measure("layer");
}
