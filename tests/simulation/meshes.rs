//! Meshes at random, under faults at random. In parts, so that they run side by side.

use hmac_propagator::simulation::{Plan, run};

const PART: u64 = 150;

fn part(number: u64) {
    let mut steps = 0;
    for seed in number * PART..(number + 1) * PART {
        let report = run(seed, &Plan::new());
        assert_eq!(
            report.violations,
            Vec::<String>::new(),
            "seed {seed}: cargo run --release --features simulation --example simulate -- --seed {seed}"
        );
        steps += report.steps;
    }
    assert!(steps > PART * 300, "next to nothing happened: {steps} steps");
}

#[test]
fn a_mesh_under_faults_comes_to_what_was_decided_part_1() {
    part(0);
}

#[test]
fn a_mesh_under_faults_comes_to_what_was_decided_part_2() {
    part(1);
}

#[test]
fn a_mesh_under_faults_comes_to_what_was_decided_part_3() {
    part(2);
}
