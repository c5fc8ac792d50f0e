//! What happens on a mesh, as it happens: for logs, metrics and pages.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::id::{CredentialKey, EventId, PeerQueue, Revision, Track};
use crate::management::Outcome;

/// Something happened. No variant carries a secret or a hash.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A credential event of another peer took effect here.
    CredentialApplied {
        /// The credential.
        key: CredentialKey,
        /// Who sent it.
        source: PeerQueue,
        /// Whether it was a removal.
        removed: bool,
    },
    /// A credential event of another peer changed nothing: it, or something newer, was in effect.
    CredentialUnchanged {
        /// The credential.
        key: CredentialKey,
        /// Who sent it.
        source: PeerQueue,
    },
    /// A decision made here took effect here.
    Decided {
        /// The credential.
        key: CredentialKey,
        /// The decision's revision.
        revision: Revision,
        /// Whether it is a removal.
        removed: bool,
    },
    /// The broker confirmed an event for a target.
    EventPublished {
        /// The credential.
        key: CredentialKey,
        /// The target.
        target: PeerQueue,
        /// The revision.
        revision: Revision,
        /// The event.
        event_id: EventId,
        /// How often it was published, this time included.
        attempts: u32,
        /// Whether it carries a removal.
        removed: bool,
    },
    /// A target answered for a revision that is current.
    AckReceived {
        /// The credential.
        key: CredentialKey,
        /// The target.
        target: PeerQueue,
        /// The revision.
        revision: Revision,
        /// `None`: it holds the revision. Otherwise why not.
        error: Option<String>,
        /// Whether the revision is a removal.
        removed: bool,
        /// Whether it had answered before and was asked again, because its store may have been lost.
        again: bool,
    },
    /// A target answered for a revision that is not current any more; nothing follows from it.
    AckOutdated {
        /// The credential.
        key: CredentialKey,
        /// The target.
        target: PeerQueue,
        /// The revision.
        revision: Revision,
    },
    /// A revision could not be delivered to a target.
    DeliveryFailed {
        /// The credential.
        key: CredentialKey,
        /// The target.
        target: PeerQueue,
        /// The revision.
        revision: Revision,
        /// Why.
        reason: String,
        /// Whether it will be tried again.
        will_retry: bool,
    },
    /// A row of the management side cannot be propagated as it is.
    RowUnusable {
        /// The client, as stored, shortened.
        client: String,
        /// The target, as stored, shortened; empty when the row has none.
        target: String,
        /// Why.
        reason: String,
    },
    /// No target of a revision is outstanding. May be seen more than once.
    FullyPropagated {
        /// The credential.
        key: CredentialKey,
        /// The revision.
        revision: Revision,
        /// How it went.
        outcome: Outcome,
        /// Whether the revision is a removal.
        removed: bool,
    },
    /// A sync came to its end.
    SyncEnded {
        /// How long it took.
        duration: Duration,
        /// `None`: it worked through all that was open. Otherwise why not.
        error: Option<String>,
    },
    /// A received message was refused.
    Refused {
        /// Why, as a word.
        reason: Refusal,
        /// Why, in words, without any value that was received.
        detail: String,
        /// Who claims to have sent it, where that could be read and is not taken for a secret.
        sender: Option<PeerQueue>,
    },
    /// Of so many refused messages no record was kept for inspection: the store is away, or they come
    /// faster than records are written. Each had its own [`Event::Refused`].
    RefusedNotKept {
        /// How many.
        count: u64,
    },
    /// A version that had taken effect here was taken as new by the store: the store lost data.
    StoreLost {
        /// The credential.
        key: CredentialKey,
    },
    /// A target has another store than before. The next sync asks it again for what the old one had
    /// proved.
    TargetStoreReplaced {
        /// The target.
        target: PeerQueue,
        /// The track.
        track: Track,
    },
    /// A target has another store than the one that proved these rows: they are pending again.
    RowsReopened {
        /// The target.
        target: PeerQueue,
        /// The track.
        track: Track,
        /// How many rows.
        rows: u64,
    },
    /// The own store had lost credentials that this peer decides about; they are back.
    OwnStoreRefilled {
        /// The track.
        track: Track,
        /// How many.
        credentials: u64,
    },
    /// An answer could not be delivered: the source has no queue. It will ask again.
    AnswerUndeliverable {
        /// The source.
        source: PeerQueue,
    },
    /// Something that is kept and tried again with backoff.
    Retrying {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// A direction of the broker connection works (again).
    Connected {
        /// Which direction.
        link: Link,
        /// Whether it worked before.
        again: bool,
    },
    /// A direction of the broker connection does not work.
    Disconnected {
        /// Which direction.
        link: Link,
        /// Why, where it is known.
        reason: Option<String>,
    },
    /// Events were dropped because this reader was too slow. Only ever seen by readers.
    Missed {
        /// How many.
        count: u64,
    },
}

/// A direction of the broker connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Link {
    /// Publishing.
    Publisher,
    /// Consuming the own queue.
    Consumer,
}

/// Why a received message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It cannot be read, or lacks a field that every message has.
    Malformed,
    /// It does not carry this peer's propagation secret.
    WrongSecret,
    /// It is an unsigned answer, and its sender is not declared receive-only.
    Unsigned,
    /// It asks for something that can never be done; its sender was told.
    Invalid,
    /// It answers an event that this peer does not know.
    UnknownAck,
    /// It answers an event that went to another peer.
    ForeignAck,
    /// The store refuses it for good; its sender was told.
    Store,
}

impl Refusal {
    /// All reasons.
    pub(crate) const ALL: [Self; 7] = [
        Self::Malformed,
        Self::WrongSecret,
        Self::Unsigned,
        Self::Invalid,
        Self::UnknownAck,
        Self::ForeignAck,
        Self::Store,
    ];

    /// A short word for metrics: `malformed`, `wrong_secret`, …
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::WrongSecret => "wrong_secret",
            Self::Unsigned => "unsigned",
            Self::Invalid => "invalid",
            Self::UnknownAck => "unknown_ack",
            Self::ForeignAck => "foreign_ack",
            Self::Store => "store",
        }
    }
}

/// Sees every event, on the task where it happens.
pub trait Observer: Send + Sync + 'static {
    /// Must return quickly and must not block.
    fn on_event(&self, event: &Event);
}

/// Hands events to the observer and to all readers.
#[derive(Clone)]
pub(crate) struct EventHub {
    readers: broadcast::Sender<Event>,
    observer: Option<Arc<dyn Observer>>,
    refused: Arc<AtomicU64>,
}

impl EventHub {
    pub(crate) fn new(capacity: usize, observer: Option<Arc<dyn Observer>>) -> Self {
        let (readers, _) = broadcast::channel(capacity);
        Self { readers, observer, refused: Arc::default() }
    }

    pub(crate) fn emit(&self, event: Event) {
        log(&event);
        if matches!(event, Event::Refused { .. }) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(observer) = &self.observer {
            // An observer that panics must not take a pipeline with it.
            let told = std::panic::catch_unwind(AssertUnwindSafe(|| observer.on_event(&event)));
            if told.is_err() {
                tracing::error!("the observer panicked");
            }
        }
        // No reader is no fault.
        let _ = self.readers.send(event);
    }

    pub(crate) fn subscribe(&self) -> EventStream {
        EventStream { events: self.readers.subscribe() }
    }

    /// How many received messages were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for EventHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventHub").finish_non_exhaustive()
    }
}

#[allow(clippy::cognitive_complexity, reason = "one arm per event; the macros count, not the code")]
fn log(event: &Event) {
    match event {
        Event::Refused { reason, detail, sender } => tracing::warn!(
            reason = reason.as_str(),
            sender = sender.as_ref().map(PeerQueue::as_str),
            "refused a message: {detail}"
        ),
        Event::RefusedNotKept { count } => {
            tracing::warn!(count, "no record was kept of refused messages");
        }
        Event::DeliveryFailed { key, target, reason, will_retry, .. } => {
            tracing::warn!(%key, %target, will_retry, "delivery failed: {reason}");
        }
        Event::RowUnusable { client, target, reason } => {
            tracing::error!(client, target, "unusable row: {reason}");
        }
        Event::StoreLost { key } => {
            tracing::error!(%key, "the store lost a credential that it had; it is back now");
        }
        Event::TargetStoreReplaced { target, track } => {
            tracing::warn!(%target, %track, "a target has another store than before");
        }
        Event::RowsReopened { target, track, rows } => {
            tracing::warn!(%target, %track, rows, "a target has another store: it is asked again");
        }
        Event::OwnStoreRefilled { track, credentials } => {
            tracing::warn!(%track, credentials, "the own store had lost credentials; they are back");
        }
        Event::Retrying { what, reason } => tracing::warn!("{what} is tried again: {reason}"),
        Event::AnswerUndeliverable { source } => {
            tracing::warn!(%source, "the source of an event has no queue for the answer");
        }
        // The transport logs these itself.
        Event::Disconnected { .. } | Event::Connected { .. } => {}
        other => tracing::debug!(event = ?other),
    }
}

/// A reader's view of the events, bounded: a reader that is too slow is told how many it missed.
#[derive(Debug)]
pub struct EventStream {
    events: broadcast::Receiver<Event>,
}

impl EventStream {
    /// The next event; `None` after the propagator was closed and dropped.
    ///
    /// # Cancellation
    /// Safe: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        match self.events.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Event::Missed { count }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
