//! One crash, at every point of a small story at which it can make a difference.

use hmac_propagator::simulation::{Crash, Plan, run};

/// Crashes a peer's first process at each of its passages in turn, until none is left.
fn at_every_point(peer: usize) -> u64 {
    for at in 1..10_000 {
        // The seed decides, among others, whether what is on its way still arrives.
        let mut crashed = false;
        for seed in 0..2 {
            let report = run(seed, &Plan::new().crash(Crash::new(peer, at)));
            let empty = Vec::<String>::new();
            assert_eq!(report.violations, empty, "peer {peer}, passage {at}, seed {seed}");
            crashed |= report.crashed;
        }
        if !crashed {
            return at - 1;
        }
    }
    panic!("the story does not end");
}

#[test]
fn an_authority_may_die_at_any_point() {
    // Three decisions, three syncs to three targets and nine answers, with two points per effect.
    assert!(at_every_point(0) > 150);
}

#[test]
fn a_target_that_signs_may_die_at_any_point() {
    assert!(at_every_point(1) > 15);
}

#[test]
fn a_receive_only_target_may_die_at_any_point() {
    assert!(at_every_point(2) > 15);
}

#[test]
fn a_target_of_the_node_package_may_die_at_any_point() {
    assert!(at_every_point(3) > 15);
}
