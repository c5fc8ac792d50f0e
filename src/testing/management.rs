//! What every [`Management`] must do.
//!
//! ```
//! use hmac_propagator::management::MemoryManagement;
//! use hmac_propagator::testing::management::MemoryFixture;
//!
//! async fn fixture() -> MemoryFixture {
//!     MemoryFixture::default()
//! }
//!
//! hmac_propagator::management_conformance!(fixture);
//! ```
//!
//! makes one `#[tokio::test]` per rule. Each calls the function for a fixture of its own; so it
//! should give an empty database each time.

use std::time::Duration;

use async_trait::async_trait;

use crate::id::{CredentialKey, PeerQueue};
use crate::management::{Management, Outcome, Proof, RowStatus};
use crate::secret::PropagationSecret;

pub mod crashes;
pub mod decisions;
pub mod filling;
pub mod marks;
pub mod pages;
pub mod races;
pub mod reports;
pub mod upkeep;
pub mod world;

#[cfg(test)]
mod bare;
mod memory;

pub use memory::MemoryFixture;

/// An adapter under test, over a database that nothing else uses.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The adapter as one of two workers has it: number 0 or 1. Both work on the same data.
    fn worker(&self, number: usize) -> &dyn Management;

    /// Puts a peer into the directory of targets.
    async fn add_target(&self, queue: &PeerQueue, secret: &PropagationSecret, receive_only: bool);

    /// A credential as it is stored.
    async fn credential(&self, key: &CredentialKey) -> Option<StoredCredential>;

    /// A row as it is stored.
    async fn row(&self, key: &CredentialKey, target: &PeerQueue) -> Option<StoredRow>;

    /// For how long a page that one worker fetched is kept from the other. `None`: both see all that
    /// is open, and the library's state store alone decides who publishes.
    fn claim_lease(&self) -> Option<Duration> {
        None
    }

    /// Whether the adapter has the three callbacks for lost stores. Without them nothing is asked of it
    /// but that they change nothing.
    fn refills(&self) -> bool {
        true
    }
}

/// A credential as an adapter stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCredential {
    /// Its revision.
    pub revision: u64,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Whether a plain secret is kept.
    pub keeps_plain_secret: bool,
    /// How its revision was reported; `None`: not yet.
    pub reported: Option<Outcome>,
}

/// A row as an adapter stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// The revision that it is to hold.
    pub revision: u64,
    /// Where it stands.
    pub status: RowStatus,
    /// The event that carries it.
    pub event_id: Option<String>,
    /// How often it was sent.
    pub attempts: u32,
    /// Why it failed last.
    pub reason: Option<String>,
    /// How the target proved that it holds it.
    pub proof: Option<Proof>,
    /// In which of its stores, as far as it says.
    pub store: Option<String>,
}

/// Makes a test of each rule that a [`Management`](crate::management::Management) must keep. The
/// argument names an async function without arguments that gives a
/// [`Fixture`](crate::testing::management::Fixture).
#[macro_export]
macro_rules! management_conformance {
    ($fixture:path) => {
        $crate::management_conformance! { @cases $fixture:
            decisions: a_new_credential_has_pending_rows_at_its_revision,
            decisions: an_unknown_target_changes_nothing,
            decisions: another_ensure_adds_targets_and_reopens_all_rows,
            decisions: restrictions_stay_until_they_are_named,
            decisions: a_decision_that_is_not_newer_is_refused,
            decisions: of_one_revision_another_decision_is_refused,
            decisions: a_repeated_decision_has_the_same_answer_and_the_same_rows,
            decisions: a_decision_repeated_after_its_report_stays_reported,
            decisions: a_rotation_keeps_targets_and_restrictions,
            decisions: a_repeated_rotation_has_the_same_answer,
            decisions: what_does_not_exist_is_not_rotated,
            decisions: a_deletion_keeps_its_targets_and_nothing_else,
            decisions: a_credential_that_never_was_can_be_deleted,
            decisions: tracks_and_odd_names_are_kept_apart,
            decisions: the_directory_gives_secrets_of_known_sources_only,
            pages: pages_of_any_length_give_all_open_work_once,
            pages: a_page_tells_all_that_a_delivery_needs,
            pages: rows_come_back_when_they_are_due_and_not_before,
            pages: a_token_of_somebody_else_is_refused,
            marks: the_last_settled_row_settles_the_revision,
            marks: marks_of_another_revision_change_nothing,
            marks: rows_that_do_not_exist_are_stale,
            marks: a_success_stays_a_success,
            marks: a_late_sent_does_not_open_what_is_settled,
            marks: an_answer_brings_what_was_not_recorded_as_sent,
            marks: a_time_beyond_all_bounds_is_never,
            marks: a_settled_error_is_not_opened_again,
            marks: a_success_may_follow_an_error,
            marks: an_error_to_be_retried_is_outstanding,
            marks: a_batch_is_answered_entry_by_entry,
            marks: an_empty_batch_is_no_error,
            marks: repeats_are_harmless,
            marks: odd_reasons_are_stored,
            reports: a_settled_revision_is_reported_once,
            reports: a_report_of_another_revision_changes_nothing,
            reports: a_report_clears_the_plain_secret,
            reports: a_late_success_may_change_the_outcome,
            reports: of_several_outcomes_the_best_stays,
            races: the_two_last_rows_settled_at_once_are_not_both_outstanding,
            races: of_decisions_at_once_the_newest_stands,
            races: a_decision_made_twice_at_once_counts_once,
            races: each_row_is_claimed_by_one_worker,
            races: a_worker_that_stalled_cannot_overwrite,
            races: two_workers_reopen_each_row_once,
            races: an_answer_out_of_the_new_store_outlasts_a_reopening_at_once,
            upkeep: reopened_rows_are_pending_at_their_revision,
            upkeep: rows_that_the_named_store_proved_stay,
            upkeep: rows_without_a_store_are_reopened,
            upkeep: without_a_named_store_all_are_reopened,
            upkeep: rows_that_are_no_success_stay,
            upkeep: other_targets_and_the_other_track_stay,
            upkeep: reopening_by_pages_of_any_length_takes_each_row_once,
            upkeep: a_reopening_token_of_somebody_else_is_refused,
            upkeep: what_the_named_store_has_proved_is_not_reopened_again,
            upkeep: a_success_that_comes_again_brings_its_store,
            upkeep: a_reopened_revision_is_fetched_settles_and_is_reported,
            upkeep: a_report_that_comes_after_the_reopening_is_ignored,
            upkeep: after_reopening_marks_of_an_older_revision_change_nothing,
            upkeep: a_decision_forgets_the_store,
            upkeep: callbacks_that_are_not_there_change_nothing,
            filling: every_credential_of_a_track_is_given_with_its_operation,
            filling: pages_of_any_length_give_all_credentials_once,
            filling: fetching_credentials_changes_nothing,
            filling: a_credentials_token_of_somebody_else_is_refused,
            filling: the_peers_are_those_of_the_directory,
            crashes: a_decision_cut_off_anywhere_can_be_repeated,
            crashes: marks_cut_off_anywhere_can_be_repeated,
            crashes: a_reopening_cut_off_anywhere_can_be_repeated,
        }
    };
    (@cases $fixture:path: $($module:ident: $case:ident,)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::testing::management::$module::$case(&$fixture().await).await;
            }
        )*
    };
}
