//! The simulation notices deliberate defects: one for each of the main promises.

use hmac_propagator::simulation::{Mutation, Plan, run};

/// Expects a defect to be noticed by one of 120 seeds, which is clean without it. `from`: where the
/// search begins, since some defects take a rare meeting of circumstances.
fn is_noticed(mutation: Mutation, from: u64) {
    let noticed = (from..from + 120)
        .find(|seed| !run(*seed, &Plan::new().mutation(mutation)).violations.is_empty());
    let seed = noticed.unwrap_or_else(|| panic!("{mutation:?} is not noticed"));
    assert_eq!(run(seed, &Plan::new()).violations, Vec::<String>::new(), "seed {seed}");
}

#[test]
fn an_event_on_record_only_after_its_publish() {
    is_noticed(Mutation::RecordedLate, 0);
}

#[test]
fn another_event_id_for_the_same_row() {
    is_noticed(Mutation::EventIdAnew, 0);
}

#[test]
fn records_written_although_they_changed_meanwhile() {
    is_noticed(Mutation::CommitUnconditional, 0);
}

#[test]
fn an_answer_that_counts_for_a_newer_revision() {
    is_noticed(Mutation::RevisionIgnored, 200);
}

#[test]
fn a_number_by_the_clock_alone() {
    is_noticed(Mutation::RawClock, 0);
}

#[test]
fn a_decision_that_does_not_move_the_own_cursor() {
    is_noticed(Mutation::CursorStays, 0);
}

#[test]
fn an_own_store_that_nobody_brings_up_after_a_crash() {
    is_noticed(Mutation::OwnStoreSkipped, 0);
}

#[test]
fn a_plain_secret_cleared_while_rows_are_open() {
    is_noticed(Mutation::PlainClearedEarly, 0);
}

#[test]
fn a_success_for_what_another_version_replaced() {
    is_noticed(Mutation::HeldIgnored, 0);
}

#[test]
fn an_answer_for_what_the_store_did_not_take() {
    is_noticed(Mutation::AppliedUnapplied, 0);
}

#[test]
fn an_answer_let_go_of_before_it_is_recorded() {
    is_noticed(Mutation::AnswerDropped, 0);
}

#[test]
fn a_lost_store_from_which_nothing_follows() {
    is_noticed(Mutation::LostStoreIgnored, 0);
}

#[test]
fn an_answer_out_of_a_store_that_is_gone() {
    is_noticed(Mutation::PastStoreBelieved, 0);
}

#[test]
fn every_defect_has_a_test() {
    let text = include_str!("mutations.rs");
    for mutation in Mutation::ALL {
        assert!(text.contains(&format!("is_noticed(Mutation::{mutation:?},")), "{mutation:?}");
    }
}
