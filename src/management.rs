//! The port to the management side: the database that is the truth about credentials and targets.
//!
//! A service implements [`Management`] over its own tables; [`MemoryManagement`] is a ready one for
//! tests and for trying out. The sequence of every operation stands in `docs/architecture.md`.
//!
//! # What an adapter stores
//!
//! Per **credential** (key: track and client id): the secret's hash, the allow-list and expiry if
//! any, whether it is deleted, its [`Revision`], and whether that revision was reported as fully
//! propagated. Per **row** (credential and target): the revision, a [`Status`](RowStatus), the
//! event id, the number of attempts, when to try again, and the last reason. Per **target**: its
//! queue, its propagation secret, and whether it is receive-only.
//!
//! # Rules that keep rows true
//!
//! 1. **Guard by revision.** Every callback that changes a row names the revision it speaks of.
//!    Change the row only where it has that revision; where it has another, change nothing and
//!    answer [`Marked::Stale`]. The library holds back what it knows to be outdated, also for an
//!    adapter that ignores this rule, but only the database can decide a race between two replicas.
//! 2. **Status only moves forward** within a revision: pending, sent, then success or error. Only
//!    [`Management::reopen_rows`] takes a success back.
//!    [`Management::mark_target_sent`] touches rows that are open, never one that is `success` or
//!    an `error` without a time to try again; neither does [`Management::mark_target_error`] with a
//!    time to try again. A success may follow an error (the target was mended), an error never
//!    follows a success.
//! 3. **Repeats are harmless.** Every callback may be called again with the same input, after a
//!    crash or a lost answer, and must then end in the same rows and the same answer.
//! 4. **Lock the credential** (`SELECT … FOR UPDATE` on its row, or a serialisable transaction) in
//!    the two callbacks that answer [`Marked`]: two replicas that settle the last two rows at once
//!    must not both see the other one as outstanding.

use std::fmt;

use async_trait::async_trait;

use crate::id::{Actor, ClientId, CredentialKey, EventId, PeerQueue, Revision};
use crate::secret::{ClientSecret, PropagationSecret, SecretHash};
use crate::store::{AllowedIps, Expiry, StoreId};

mod error;
mod memory;
mod rows;
#[cfg(feature = "sql")]
pub mod sql;
mod upkeep;

pub use error::{ManagementError, ManagementErrorKind};
pub use memory::{CredentialView, MemoryManagement, RowView};
pub use rows::{
    FetchPending, Operation, PendingPage, PendingPropagation, PendingTarget, PendingWork, RowStatus,
};
pub use upkeep::{CredentialPage, FetchCredentials, ReopenRows, Reopened, StoredCredential};

/// The eight callbacks of full mode, and three with which lost stores are filled again.
///
/// The three have provided methods that do nothing: peers that lost their store are then not brought
/// up to date until the next decision about each credential.
///
/// # Errors
/// Every callback says with its error whether trying again may help:
/// [`ManagementError::transient`] (database away, lock timeout, serialisation failure) or
/// [`ManagementError::permanent`]. A transient failure is tried again with backoff and loses
/// nothing. A permanent one is reported and, where it concerns a row, tried again by a later sync.
///
/// # Cancellation
/// A callback that takes longer than
/// [`callback_timeout`](crate::propagator::Builder::callback_timeout) is dropped, as is one that is
/// under way when the time to close is over. An adapter should run each callback in one transaction,
/// so that this is harmless.
#[async_trait]
pub trait Management: Send + Sync + fmt::Debug + 'static {
    /// Records a decision to create, change or delete a credential, in one transaction: store the
    /// credential under `request.revision`, add rows for the targets that are new to it, and set
    /// *all* its rows to pending at that revision (attempts 0, no event id, no reason). Targets
    /// that the credential has and the request does not name stay its targets. A credential that
    /// was deleted starts anew: without an allow-list in the request it stores an *empty* one, since
    /// targets may still hold the old one and would keep it if they were told nothing.
    ///
    /// # Errors
    /// [`ManagementError::stale_revision`] when the credential has a revision that is not smaller.
    /// (The same decision under the same revision, hash and all, is a repeat and passes.) [`ManagementError::unknown_target`] when a
    /// target is not in the directory: nothing changes then.
    async fn upsert_credential_with_targets(
        &self,
        request: UpsertCredential,
    ) -> Result<Upserted, ManagementError>;

    /// Records a new secret for an existing credential, in one transaction: store the hash under
    /// `request.revision` and set all its rows to pending at that revision. Allow-list and expiry
    /// stay. Answers `None` when the credential does not exist or is deleted.
    ///
    /// # Errors
    /// As [`Management::upsert_credential_with_targets`].
    async fn rotate_credential_secret(
        &self,
        request: RotateCredential,
    ) -> Result<Option<Rotated>, ManagementError>;

    /// A page of the work that is open at `request.now_ms`, in a stable order by key:
    ///
    /// * rows that are pending, rows that are `sent` or `error` and whose time to try again has
    ///   come ([`PendingWork::Deliver`]);
    /// * credentials whose revision was not reported as fully propagated although none of their
    ///   rows is open ([`PendingWork::Report`]); without it, a crash between the last answer and
    ///   the report would leave the credential unreported for ever.
    ///
    /// Rows are given as they are, without judging them: the library checks each by itself, so that
    /// a bad one delays no other.
    ///
    /// An adapter may keep the rows of a page from other workers for a short time, and may then
    /// ignore what a worker says of its own deliveries (`sent`, an error to be tried again) once
    /// another one took the row. It need not: the library claims rows in its state store.
    async fn fetch_pending_propagations(
        &self,
        request: FetchPending,
    ) -> Result<PendingPage, ManagementError>;

    /// The propagation secret of a peer that sends us events, to sign the answer with. `None` when
    /// the directory does not know it; the answer then goes out unsigned.
    async fn fetch_source_propagation_secret(
        &self,
        source: &PeerQueue,
    ) -> Result<Option<PropagationSecret>, ManagementError>;

    /// Events were confirmed by the broker: each row that is at that revision and open (pending,
    /// sent, or an error with a time to try again) becomes `sent`, with its event id, its time, the number of attempts and when to try again.
    /// Also called for a row that is `sent` and whose event still waits in the target's queue, to
    /// move the time of the next try.
    async fn mark_target_sent(&self, sent: &[TargetSent]) -> Result<(), ManagementError>;

    /// Targets proved that they hold a revision: each row that is at that revision becomes
    /// `success`. One answer per entry, in their order.
    async fn mark_target_success(
        &self,
        applied: &[TargetSuccess],
    ) -> Result<Vec<Marked>, ManagementError>;

    /// Deliveries failed: each row that is at that revision and not `success` becomes `error` with
    /// the reason. With `retry_at` it stays open and is fetched again at that time (and a row that is
    /// settled stays as it is: its target's answer came first); without, it is settled. One answer per entry, in their order.
    async fn mark_target_error(
        &self,
        failed: &[TargetError],
    ) -> Result<Vec<Marked>, ManagementError>;

    /// No target of a revision is outstanding any more: record the outcome, and clear the plain
    /// secret where one was kept, if the credential is still at that revision and none of its rows was
    /// opened again since ([`Management::reopen_rows`]). May be called more than once; of several outcomes of one revision the best stays, since rows only get better.
    async fn mark_credential_fully_propagated(
        &self,
        report: FullyPropagated,
    ) -> Result<(), ManagementError>;

    /// A target no longer has the store that its answers came from: a page of its rows that are
    /// `success` and were not proved by the store that it has now ([`TargetSuccess::store`]) become
    /// pending again, in one transaction. Revision, event id and attempts stay; their credentials count as
    /// not reported. Rows in any other status stay as they are.
    ///
    /// The provided method reopens nothing.
    async fn reopen_rows(&self, _request: ReopenRows) -> Result<Reopened, ManagementError> {
        Ok(Reopened::default())
    }

    /// A page of all credentials of a track, deleted ones too, in a stable order: to fill this peer's own
    /// store when that was lost.
    ///
    /// The provided method knows of none.
    async fn fetch_credentials(
        &self,
        _request: FetchCredentials,
    ) -> Result<CredentialPage, ManagementError> {
        Ok(CredentialPage::default())
    }

    /// The peers in the directory. Each may be a source of events for this one, and is told when this
    /// peer's store is another one than before.
    ///
    /// The provided method knows of none: sources are then those of which this process has had events,
    /// and those that the builder names.
    async fn fetch_peers(&self) -> Result<Vec<PeerQueue>, ManagementError> {
        Ok(Vec::new())
    }
}

/// Input of [`Management::upsert_credential_with_targets`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UpsertCredential {
    /// Which credential.
    pub key: CredentialKey,
    /// The decision's revision: store it, and give it back with every row.
    pub revision: Revision,
    /// Create or replace, or delete.
    pub decision: Decision,
    /// Targets to add, none twice, the own queue not among them.
    pub targets: Vec<PeerQueue>,
    /// Who asked for it, for an audit; `None`: nobody was named.
    pub actor: Option<Actor>,
    /// When it was decided, in milliseconds since the epoch.
    pub now_ms: u64,
}

/// What was decided about a credential. Exhaustive: an adapter has to store each.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Create it or replace its secret.
    Put {
        /// The hash to store and to propagate.
        secret_hash: SecretHash,
        /// The allow-list from now on; `None` keeps what is stored.
        allowed_ips: Option<AllowedIps>,
        /// The expiry from now on.
        expires_at: Expiry,
        /// The plain secret, only when the propagator was built to hand it over. Clear it when the
        /// revision is reported as fully propagated.
        plain_secret: Option<ClientSecret>,
    },
    /// Delete it, at the authority and at every target.
    Delete,
}

/// Output of [`Management::upsert_credential_with_targets`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upserted {
    /// Whether the credential is new (or was deleted before).
    pub created: bool,
    /// How many rows are pending now. With none, the library reports the revision at once.
    pub targets: u64,
    /// What is stored now, so that the authority's own store can be made exactly that. Ignored for
    /// a deletion.
    pub stored: StoredRestrictions,
}

/// Allow-list and expiry as the management side has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredRestrictions {
    /// `None`: never set; targets keep what they have.
    pub allowed_ips: Option<AllowedIps>,
    /// `None`: no expiry. Milliseconds since the epoch.
    pub expires_at: Option<u64>,
}

/// Input of [`Management::rotate_credential_secret`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RotateCredential {
    /// Which credential.
    pub key: CredentialKey,
    /// The decision's revision.
    pub revision: Revision,
    /// The new hash.
    pub secret_hash: SecretHash,
    /// The plain secret, only when the propagator was built to hand it over.
    pub plain_secret: Option<ClientSecret>,
    /// Who asked for it, for an audit; `None`: nobody was named.
    pub actor: Option<Actor>,
    /// When it was decided, in milliseconds since the epoch.
    pub now_ms: u64,
}

/// Output of [`Management::rotate_credential_secret`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// How many rows are pending now.
    pub targets: u64,
    /// What is stored now.
    pub stored: StoredRestrictions,
}

/// Names a row at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowKey {
    /// The credential.
    pub key: CredentialKey,
    /// The target.
    pub target: PeerQueue,
    /// The revision that is spoken of. A row at another revision must not change.
    pub revision: Revision,
}

/// Entry of [`Management::mark_target_sent`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TargetSent {
    /// The row.
    pub row: RowKey,
    /// The event that carries it. Store it: with it the row can be finished even when Redis lost
    /// its records.
    pub event_id: EventId,
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// How often it was published so far: the number to store.
    pub attempts: u32,
    /// When to fetch the row again if no answer has come, in milliseconds since the epoch.
    pub retry_at_ms: u64,
}

/// Entry of [`Management::mark_target_success`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TargetSuccess {
    /// The row.
    pub row: RowKey,
    /// How the target proved it.
    pub proof: Proof,
    /// The store that holds it, as far as the target says. Store it with the row, also where the row is
    /// `success` already; [`Management::reopen_rows`] asks for it.
    pub store: Option<StoreId>,
    /// What was answered. Store it where the row does not say yet that it was sent.
    pub answered: Option<Answered>,
    /// When the answer came, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// The delivery that a target answered. Its answer may be faster than the record of it as sent, which
/// then does not come any more: without this, such a row would look as if it had never been sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answered {
    /// The event.
    pub event_id: EventId,
    /// How often it was published.
    pub attempts: u32,
    /// When it was published last, in milliseconds since the epoch.
    pub sent_at_ms: u64,
}

/// How far an answer can be trusted. Store it with the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// The target signed with our propagation secret.
    Signed,
    /// A receive-only target, which cannot sign: it named the event's unguessable id and its own
    /// queue.
    ReceiveOnly,
}

/// Entry of [`Management::mark_target_error`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TargetError {
    /// The row.
    pub row: RowKey,
    /// Why, in words for an operator.
    pub reason: String,
    /// When to try again, in milliseconds since the epoch; `None`: this revision has failed there
    /// for good.
    pub retry_at_ms: Option<u64>,
    /// What the target answered; `None`: it did not. Store it where the row does not say yet that it
    /// was sent.
    pub answered: Option<Answered>,
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// What became of a row. Exhaustive: the library decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// Recorded, or recorded before; other rows of the revision are still open.
    Outstanding,
    /// Recorded, or recorded before; no row of the revision is open.
    Settled {
        /// Rows that are `success`.
        succeeded: u64,
        /// Rows that are `error`.
        failed: u64,
    },
    /// The row is at another revision or does not exist: nothing changed.
    Stale,
}

/// Input of [`Management::mark_credential_fully_propagated`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FullyPropagated {
    /// The credential.
    pub key: CredentialKey,
    /// The revision that is complete.
    pub revision: Revision,
    /// How it went.
    pub outcome: Outcome,
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// How a revision ended over all targets, from the worst to the best. Exhaustive: these are the
/// three of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// No target holds it.
    Error,
    /// Some targets hold it.
    Partial,
    /// Every target holds it.
    Success,
}

impl Outcome {
    /// From how many targets hold it and how many failed. Without any target: success.
    #[must_use]
    pub fn of(succeeded: u64, failed: u64) -> Self {
        match (succeeded, failed) {
            (_, 0) => Self::Success,
            (0, _) => Self::Error,
            _ => Self::Partial,
        }
    }

    /// `success`, `partial` or `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A convenience for adapters: the client of a key.
impl AsRef<ClientId> for CredentialKey {
    fn as_ref(&self) -> &ClientId {
        &self.client_id
    }
}
