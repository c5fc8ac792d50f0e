//! One seed, one run: in this process and in any other.

use std::process::Command;

use hmac_propagator::simulation::{Plan, run};

const SEEDS: u64 = 40;
const CHILD: &str = "SIMULATION_PRINTS_TRACES";

fn traces() -> Vec<String> {
    (0..SEEDS).map(|seed| format!("{:016x}", run(seed, &Plan::new()).trace_hash)).collect()
}

#[test]
fn a_seed_replays_exactly_in_this_process() {
    let (first, again) = (traces(), traces());
    assert_eq!(first, again);
    // Not all the same, which would be as equal.
    let mut distinct = first.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), first.len());
}

#[test]
fn a_seed_replays_exactly_in_another_process() {
    if std::env::var_os(CHILD).is_some() {
        let mut out = std::io::stdout();
        std::io::Write::write_all(
            &mut out,
            format!("\ntraces {}\n", traces().join(" ")).as_bytes(),
        )
        .unwrap();
        return;
    }
    let name = "replay::a_seed_replays_exactly_in_another_process";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let printed = String::from_utf8(child.stdout).unwrap();
    let line = printed.lines().find_map(|line| line.strip_prefix("traces ")).unwrap();
    assert_eq!(line.split(' ').collect::<Vec<_>>(), traces());
}

#[test]
fn a_kept_trace_is_the_same_run() {
    let (kept, not_kept) = (run(7, &Plan::new().keep_trace()), run(7, &Plan::new()));
    assert_eq!(kept.trace_hash, not_kept.trace_hash);
    assert_eq!(kept.trace.len() as u64, kept.steps);
    assert!(not_kept.trace.is_empty());
}
