//! The authority's books, kept in a [`StateStore`]: which revision of a credential is current, and
//! which events are in flight, and which stores those have that were answered for. What is decided here is decided by pure functions of the records.

use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::error::StoreError;
use crate::id::{CredentialKey, EventId, PeerQueue};
use crate::state::{Key, StateStore};

mod flight;
mod hearsay;
mod holders;
mod revision;

pub(crate) use flight::{Answer, Claim, ClaimRequest, InFlight, Ticket, Tried};
use hearsay::Hearsay;
pub(crate) use holders::{Refill, Seen, Sighting, Standing};
pub(crate) use revision::{Currency, Locality, Opened};

/// How long things may take before somebody else steps in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// From a publish to the next try when no answer comes; grows with each try.
    pub(crate) answer: Backoff,
    /// How long one ensure, rotate or revoke keeps others of the same credential waiting if its
    /// process dies in the middle.
    pub(crate) operation_lease: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            answer: Backoff::new(Duration::from_secs(30), Duration::from_secs(3600)),
            operation_lease: Duration::from_secs(30),
        }
    }
}

/// The books.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    state: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
    prefix: String,
    timing: Timing,
    hearsay: Hearsay,
}

impl Ledger {
    pub(crate) fn new(
        state: Arc<dyn StateStore>,
        clock: Arc<dyn Clock>,
        prefix: String,
        timing: Timing,
    ) -> Self {
        Self { state, clock, prefix, timing, hearsay: Hearsay::default() }
    }

    /// How long a target that failed is left alone after so many attempts, in milliseconds.
    pub(crate) fn failure_wait(&self, attempts: u32) -> u64 {
        ms(self.timing.answer.ceiling(attempts.saturating_sub(1)))
    }

    /// Whether the state store answers.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        self.state.ping().await
    }

    fn state(&self) -> &dyn StateStore {
        &*self.state
    }

    fn revision_key(&self, key: &CredentialKey) -> Key {
        Key::value(format!("{}:revision:{}:{}", self.prefix, key.track, key.client_id))
    }

    fn cursor_key(&self, key: &CredentialKey) -> Key {
        Key::value(format!("{}:last-seen:{}:{}", self.prefix, key.track, key.client_id))
    }

    /// The target comes first: its name has no colon, so no two credentials share a key.
    fn flight_key(&self, key: &CredentialKey, target: &PeerQueue) -> Key {
        let CredentialKey { track, client_id } = key;
        Key::value(format!("{}:in-flight:{track}:{target}:{client_id}", self.prefix))
    }

    fn event_key(&self, event_id: &EventId) -> Key {
        Key::value(format!("{}:ack:{event_id}", self.prefix))
    }
}

/// Reads a record; one that cannot be read counts as absent and is written anew.
fn parse<T: serde::de::DeserializeOwned>(read: &[Option<String>], index: usize) -> Option<T> {
    let text = read.get(index)?.as_deref()?;
    serde_json::from_str(text).ok()
}

fn print(record: &impl serde::Serialize) -> String {
    // Strings, numbers and options only: serialising into memory has no way to fail.
    serde_json::to_string(record).unwrap_or_default()
}

pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
