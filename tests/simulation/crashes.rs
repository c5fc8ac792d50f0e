//! One crash, at every point of a small story at which it can make a difference.

use hmac_propagator::simulation::{Crash, Plan, run};

/// Crashes a peer's first process at each of its passages in turn, until none is left. The seed decides, among
/// others, whether what is on its way still arrives.
fn at_every_point(peer: usize, seed: u64) -> u64 {
    for at in 1..10_000 {
        let report = run(seed, &Plan::new().crash(Crash::new(peer, at)));
        let empty = Vec::<String>::new();
        assert_eq!(report.violations, empty, "peer {peer}, passage {at}, seed {seed}");
        if !report.crashed {
            return at - 1;
        }
    }
    panic!("the story does not end");
}

#[test]
fn an_authority_may_die_at_any_point() {
    // Three decisions, three syncs to three targets and nine answers, with two points per effect.
    assert!(at_every_point(0, 0) > 150);
}

#[test]
fn an_authority_may_die_at_any_point_in_another_order() {
    assert!(at_every_point(0, 1) > 150);
}

#[test]
fn a_target_that_signs_may_die_at_any_point() {
    assert!(at_every_point(1, 0).min(at_every_point(1, 1)) > 15);
}

#[test]
fn a_receive_only_target_may_die_at_any_point() {
    assert!(at_every_point(2, 0).min(at_every_point(2, 1)) > 15);
}

#[test]
fn a_target_of_the_node_package_may_die_at_any_point() {
    assert!(at_every_point(3, 0).min(at_every_point(3, 1)) > 15);
}
