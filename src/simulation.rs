//! A mesh in one thread, for testing this crate: the pipelines run unchanged on a simulated broker,
//! simulated stores, clocks and randomness, and everything that happens comes from one number.
//!
//! Not for users: nothing here is under the promise of stable versions. `docs/testing.md` says what it
//! covers and how to run it.
//!
//! # How it stays repeatable
//! One thread, tokio's paused clock, no input and no output. Randomness comes from the seed, at the
//! ports as well as for the pipelines. What is iterated is ordered. `select!` is `biased` wherever
//! more than one branch can be ready. [`Report::trace_hash`] is what shows that it holds.

use std::sync::Arc;

mod broker;
mod chaos;
mod clock;
mod database;
mod disk;
mod fence;
mod link;
mod mesh;
mod model;
mod node;
mod plan;
mod random;
mod rest;
mod settled;
mod site;
mod story;
mod trace;
mod truth;
mod watcher;
mod workload;
mod world;

pub use plan::{Crash, Mutation, Plan};

/// How a run ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// What is not as it must be; empty: all is well.
    pub violations: Vec<String>,
    /// A hash over everything that happened. Equal for equal seeds and plans.
    pub trace_hash: u64,
    /// How much happened.
    pub steps: u64,
    /// The crash that the plan asks for came about.
    pub crashed: bool,
    /// What happened, if the plan asks for it.
    pub trace: Vec<String>,
}

/// Runs one mesh to its end.
///
/// # Panics
/// When the operating system does not let a runtime be made. Must not be called inside one.
#[must_use]
#[allow(clippy::unwrap_used, reason = "without a runtime there is nothing to report")]
pub fn run(seed: u64, plan: &Plan) -> Report {
    crate::mutation::switch(plan.mutation);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap();
    let report = runtime.block_on(story::tell(seed, plan));
    drop(runtime);
    crate::mutation::switch(None);
    report
}

fn report(world: &Arc<world::World>, crashed: bool) -> Report {
    let violations = world.violations();
    let mut trace = world.trace();
    Report {
        violations,
        trace_hash: trace.hash(),
        steps: trace.length(),
        crashed,
        trace: trace.take_lines(),
    }
}
