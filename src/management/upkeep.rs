//! What the callbacks ask for and get with which lost stores are filled again.

use super::rows::Operation;
use crate::id::{PeerQueue, Revision, Track};
use crate::store::StoreId;

/// Input of [`Management::reopen_rows`](super::Management::reopen_rows).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReopenRows {
    /// Whose rows.
    pub target: PeerQueue,
    /// Of which track.
    pub track: Track,
    /// The store that the target has now: rows that it has proved stay as they are. `None`: none stays.
    pub proved_by: Option<StoreId>,
    /// The `next` of the page before; `None`: the first page.
    pub after: Option<String>,
    /// Most rows of the page.
    pub limit: usize,
    /// When, in milliseconds since the epoch.
    pub now_ms: u64,
}

/// Output of [`Management::reopen_rows`](super::Management::reopen_rows).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reopened {
    /// How many rows are pending again.
    pub rows: u64,
    /// Where the next page starts, in the adapter's own words; `None`: this was the last.
    pub next: Option<String>,
}

/// Input of [`Management::fetch_credentials`](super::Management::fetch_credentials).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchCredentials {
    /// Of which track.
    pub track: Track,
    /// The `next` of the page before; `None`: the first page.
    pub after: Option<String>,
    /// Most entries of the page.
    pub limit: usize,
}

/// Output of [`Management::fetch_credentials`](super::Management::fetch_credentials).
#[derive(Clone, Debug, Default)]
pub struct CredentialPage {
    /// The entries, ordered by client.
    pub entries: Vec<StoredCredential>,
    /// Where the next page starts, in the adapter's own words; `None`: this was the last.
    pub next: Option<String>,
}

/// A credential as the management side holds it. Names and values are given as stored, unchecked.
#[derive(Clone, Debug)]
pub struct StoredCredential {
    /// The client, as stored.
    pub client_id: String,
    /// The revision.
    pub revision: Revision,
    /// What was decided.
    pub operation: Operation,
}
