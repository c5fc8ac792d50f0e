//! The layer, with an allocator made for threads that free what others allocated: a request that has
//! waited for Redis goes on on any of them. `layer/measure.rs` says what is measured.

#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used)]
#![allow(unreachable_pub, dead_code, reason = "shares files with other benches")]

#[path = "layer/measure.rs"]
mod measure;
#[path = "support/report.rs"]
mod report;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    measure::measure("layer_mimalloc");
}
