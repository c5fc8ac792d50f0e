//! What a peer says of itself.

use crate::outbound::SyncSummary;
use crate::transport::LinkState;

/// How a peer is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// The direction that publishes.
    pub publisher: LinkState,
    /// The direction that consumes the own queue.
    pub consumer: LinkState,
    /// The state store.
    pub store: StoreState,
    /// The last sync; `None`: none yet.
    pub last_sync: Option<LastSync>,
    /// How many received messages were refused since the start.
    pub refused: u64,
}

impl Status {
    /// Whether the peer can do its work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.publisher.is_up() && self.consumer.is_up() && self.store == StoreState::Up
    }
}

/// Whether the state store answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreState {
    /// It does.
    Up,
    /// It does not.
    Down {
        /// Why, without any secret.
        reason: String,
    },
}

/// How the last sync ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LastSync {
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// What it did, when it succeeded.
    pub summary: Option<SyncSummary>,
    /// Why it failed, when it did.
    pub error: Option<String>,
}
