//! Runs the simulation: many seeds, or one with its trace. `docs/testing.md` explains it.
#![allow(clippy::unwrap_used, reason = "without an output there is nothing to do")]

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hmac_propagator::simulation::{Mutation, Plan, Report, run, scale};

const USAGE: &str = "simulate --seeds N [--from N] [--jobs N] [--mutation NAME]
simulate --seed N [--mutation NAME]     one seed, with its trace
simulate --scale TARGETSxCREDENTIALS    what a rotation of everything takes in a large mesh";

struct Options {
    from: u64,
    seeds: u64,
    jobs: u64,
    trace: bool,
    plan: Plan,
}

fn options() -> Option<Options> {
    let mut options = Options { from: 0, seeds: 1000, jobs: 1, trace: false, plan: Plan::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--seeds" => options.seeds = value.parse().ok()?,
            "--from" => options.from = value.parse().ok()?,
            "--jobs" => options.jobs = value.parse().ok().filter(|jobs| *jobs > 0)?,
            "--seed" => {
                (options.from, options.seeds, options.trace) = (value.parse().ok()?, 1, true);
            }
            "--mutation" => {
                let named = |mutation: &Mutation| format!("{mutation:?}") == value;
                options.plan = options.plan.mutation(Mutation::ALL.into_iter().find(named)?);
            }
            _ => return None,
        }
    }
    if options.trace {
        options.plan = options.plan.keep_trace();
    }
    Some(options)
}

/// The size that `--scale` names.
fn size() -> Option<(usize, usize)> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != "--scale" {
        return None;
    }
    let size = arguments.next()?;
    let (targets, credentials) = size.split_once('x')?;
    let (targets, credentials) = (targets.parse().ok()?, credentials.parse().ok()?);
    (targets > 0 && credentials > 0).then_some((targets, credentials))
}

fn main() -> ExitCode {
    if let Some((targets, credentials)) = size() {
        return tell_scale(targets, credentials);
    }
    let Some(options) = options() else {
        let mut err = std::io::stderr();
        writeln!(err, "{USAGE}").unwrap();
        return ExitCode::from(2);
    };
    let (begun, next) = (Instant::now(), AtomicU64::new(0));
    let (failed, steps, traces) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= options.seeds {
                        return;
                    }
                    let seed = options.from + index;
                    let report = run(seed, &options.plan);
                    // A sum, since with several jobs seeds end in any order.
                    traces.fetch_add(report.trace_hash, Ordering::Relaxed);
                    steps.fetch_add(report.steps, Ordering::Relaxed);
                    failed.fetch_add(u64::from(!report.violations.is_empty()), Ordering::Relaxed);
                    tell(seed, &report);
                }
            });
        }
    });
    let (failed, seconds) = (failed.into_inner(), begun.elapsed().as_secs_f64());
    #[allow(clippy::cast_precision_loss)]
    let rate = options.seeds as f64 / seconds;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{} seeds from {}, {failed} failed; {} steps, traces {:016x}, {seconds:.0} s, {rate:.0} seeds/s",
        options.seeds,
        options.from,
        steps.into_inner(),
        traces.into_inner()
    )
    .unwrap();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell_scale(targets: usize, credentials: usize) -> ExitCode {
    let spent = scale(targets, credentials);
    #[allow(clippy::cast_precision_loss)]
    let each = |count: u64| count as f64 / spent.events as f64;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{targets} targets, {credentials} credentials, {} events", spent.events).unwrap();
    for (what, count) in [
        ("messages", spent.messages),
        ("calls of the source's state store", spent.source_state),
        ("calls of the targets' state stores", spent.target_state),
        ("calls of the management side", spent.management),
    ] {
        writeln!(out, "{what}: {count}, {:.4} for each event", each(count)).unwrap();
    }
    for violation in &spent.violations {
        writeln!(out, "{violation}").unwrap();
    }
    if spent.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Failures, and the trace where there is one.
fn tell(seed: u64, report: &Report) {
    let mut out = std::io::stdout().lock();
    for line in &report.trace {
        writeln!(out, "{line}").unwrap();
    }
    for violation in &report.violations {
        writeln!(out, "seed {seed}: {violation}").unwrap();
    }
    if !report.trace.is_empty() {
        writeln!(out, "trace {:016x}, {} steps", report.trace_hash, report.steps).unwrap();
    }
}
