//! Large meshes, where nothing goes wrong.

use hmac_propagator::simulation::{Scale, scale};

fn clean(targets: usize, credentials: usize) -> Scale {
    let spent = scale(targets, credentials);
    assert!(spent.violations.is_empty(), "{:?}", spent.violations);
    spent
}

#[test]
fn an_event_takes_two_messages_and_costs_no_more_in_a_larger_mesh() {
    let (small, large) = (clean(10, 5), clean(100, 5));
    for spent in [&small, &large] {
        assert_eq!(spent.messages, 2 * spent.events);
        // At most a read and a change for each event, and the look at the store itself.
        assert!(spent.target_state <= 2 * spent.events + spent.events / 2, "{spent:?}");
    }
    assert_eq!(large.events, 10 * small.events);
    assert!(large.source_state <= 10 * small.source_state, "{large:?} beside {small:?}");
    assert!(large.management <= 10 * small.management, "{large:?} beside {small:?}");
}
