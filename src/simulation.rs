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
mod scale;
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

/// What it took to bring a rotation of everything to the targets of a large mesh: calls and messages, by who made
/// them.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Scale {
    /// One for each credential and target.
    pub events: u64,
    /// Through the broker.
    pub messages: u64,
    /// Of the authority's state store.
    pub source_state: u64,
    /// Of the targets' state stores.
    pub target_state: u64,
    /// Of the authority's management side.
    pub management: u64,
    /// What is not as it must be; empty: all is well.
    pub violations: Vec<String>,
}

/// Counts what a rotation of everything takes, and checks its end as that of any other run.
///
/// # Panics
/// As [`run`].
#[must_use]
pub fn scale(targets: usize, credentials: usize) -> Scale {
    in_virtual_time(scale::measure(targets, credentials))
}

/// Runs one mesh to its end.
///
/// # Panics
/// When the operating system does not let a runtime be made. Must not be called inside one.
#[must_use]
pub fn run(seed: u64, plan: &Plan) -> Report {
    crate::mutation::switch(plan.mutation);
    let report = in_virtual_time(story::tell(seed, plan));
    crate::mutation::switch(None);
    report
}

#[allow(clippy::unwrap_used, reason = "without a runtime there is nothing to report")]
fn in_virtual_time<T>(told: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(told)
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
