//! What [`Management::fetch_pending_propagations`](super::Management::fetch_pending_propagations)
//! asks for and gets.

use crate::id::{EventId, Revision, Track};
use crate::secret::PropagationSecret;

/// Input of `fetch_pending_propagations`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchPending {
    /// The `next` of the page before; `None`: the first page.
    pub after: Option<String>,
    /// Most entries of the page.
    pub limit: usize,
    /// Rows whose time to try again is not after this are due. Milliseconds since the epoch.
    pub now_ms: u64,
}

impl FetchPending {
    /// The first page.
    #[must_use]
    pub fn first(limit: usize, now_ms: u64) -> Self {
        Self { after: None, limit, now_ms }
    }
}

/// Output of `fetch_pending_propagations`.
#[derive(Clone, Debug, Default)]
pub struct PendingPage {
    /// The entries, ordered by key.
    pub entries: Vec<PendingPropagation>,
    /// Where the next page starts, in the adapter's own words; `None`: this was the last.
    pub next: Option<String>,
}

/// One piece of open work. Names and values are given as stored, unchecked.
#[derive(Clone, Debug)]
pub struct PendingPropagation {
    /// The track.
    pub track: Track,
    /// The client, as stored.
    pub client_id: String,
    /// The revision of the credential (and of the row): what was given with the decision.
    pub revision: Revision,
    /// What was decided.
    pub operation: Operation,
    /// What is to be done.
    pub work: PendingWork,
}

/// What the authority decided, as stored.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// The credential exists.
    Put {
        /// Whether this is its first revision (since it was last deleted).
        create: bool,
        /// Its hash, as stored.
        secret_hash: String,
        /// Its allow-list, as stored; `None`: never set.
        allowed_ips: Option<Vec<String>>,
        /// Its expiry in milliseconds since the epoch; `None`: none.
        expires_at: Option<u64>,
    },
    /// The credential is deleted.
    Delete,
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Put { create: true, .. } => "Create(redacted)",
            Self::Put { create: false, .. } => "Update(redacted)",
            Self::Delete => "Delete",
        })
    }
}

/// What is to be done. Exhaustive: there is no third kind of open work.
#[derive(Clone, Debug)]
pub enum PendingWork {
    /// A row is open.
    Deliver(PendingTarget),
    /// No row is open and the revision was not reported as fully propagated.
    Report {
        /// Rows that are `success`.
        succeeded: u64,
        /// Rows that are `error`.
        failed: u64,
    },
}

/// The target of an open row.
#[derive(Clone, Debug)]
pub struct PendingTarget {
    /// Its queue name, as stored.
    pub queue: String,
    /// Its propagation secret; `None` when the directory has none.
    pub propagation_secret: Option<PropagationSecret>,
    /// Whether it is declared receive-only, so that its unsigned answer counts.
    pub receive_only: bool,
    /// The row's status.
    pub status: RowStatus,
    /// The event that carries this revision, where one was sent.
    pub event_id: Option<EventId>,
    /// How often it was sent.
    pub attempts: u32,
}

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RowStatus {
    /// To be sent.
    Pending,
    /// The broker holds it, or held it; no answer yet.
    Sent,
    /// The target holds this revision and said so.
    Success,
    /// It failed; the reason stands beside it.
    Error,
}

impl RowStatus {
    /// `pending`, `sent`, `success` or `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Success => "success",
            Self::Error => "error",
        }
    }
}
