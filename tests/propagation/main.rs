//! Propagation between peers over a real RabbitMQ and real Redis servers.
//!
//! Run with one broker for all: `private-servers exec -- cargo nextest run --test propagation`.
//!
//! The defects that deployed peers of another implementation have, and the tests that fail if ours
//! gets one:
//!
//! | # | defect | tests |
//! |---|---|---|
//! | 1 | an event is recorded after its publish, so that a fast ack is unknown | `order::an_ack_that_comes_the_instant_its_event_arrives_is_known`, `order::two_hundred_single_rotations_all_settle` |
//! | 2 | complete is reported, and the plain secret cleared, while a row is pending or its publish failed | `isolation::a_queue_with_foreign_arguments_fails_only_its_rows_until_it_is_removed`, `revisions::a_revision_is_complete_only_when_its_last_target_has_answered` |
//! | 3 | a late ack of the previous secret settles the new one | `revisions::late_ack_of_an_older_revision_*`, `races::a_decision_that_comes_while_an_answer_is_judged_is_not_settled_by_it` |
//! | 4 | after a clock step back the target keeps the old hash | `timestamps::a_rotate_after_the_clock_stepped_back_is_applied_everywhere` |
//! | 5 | one bad row stops all behind it | `isolation::bad_rows_say_why_and_the_others_propagate` |
//! | 6 | both tracks of a client share their pending set | `revisions::both_tracks_of_one_client_never_mix` |
//! | 7 | replicas or overlapping calls publish twice, and peers diverge | `replicas::*`, `races::decisions_syncs_and_answers_at_once_neither_lock_up_nor_lose_a_revision` |
//! | 8 | a failing apply is redelivered in a hot loop and blocks what follows | `transient::an_event_is_kept_while_*`, `transient::the_other_track_goes_on_while_one_tracks_redis_is_down` |
//! | 9 | a row of a receive-only target stays sent, its plain secret stays | `receive_only::a_declared_receive_only_target_settles_its_row_which_says_so` |
//! | 10 | a broker restart crashes peers and leaves rows unsettled | `broker::a_broker_that_is_killed_in_the_middle_of_a_sync_loses_nothing`, `broker::a_broker_that_is_restarted_in_good_order_finds_both_sides_again`, `broker::closed_connections_are_opened_again_on_both_sides` |
//! | 11 | an ack to a queue that does not exist vanishes | `broker::an_answer_whose_source_has_no_queue_is_told_and_holds_nothing_up` |
//! | 12 | an event from the future freezes a credential | `timestamps::an_event_from_the_future_is_refused_and_freezes_nothing` |
//! | 13 | an empty or malformed hash is stored | `attacks::payloads_that_cannot_be_applied_are_refused_by_name` |
//! | 14 | a queue deleted under its consumer is never consumed again | `broker::an_own_queue_that_is_deleted_is_declared_and_consumed_again` |
//!
//! Defects 15 and 16 are about verifying requests.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests")]
#![allow(unreachable_pub, reason = "one binary")]

mod attacks;
mod basics;
mod broker;
mod closing;
mod cursor;
mod help;
mod isolation;
mod lost_stores;
mod mesh;
mod order;
mod own_store;
mod races;
mod receive_only;
mod refused;
mod replicas;
mod resend;
mod revisions;
mod stalled;
mod timestamps;
mod transient;
