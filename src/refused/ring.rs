//! The records in the state store: a ring, and a counter that says where it goes on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::RefusedMessage;
use super::record::Record;
use crate::error::StoreError;
use crate::state::{DEFAULT_PREFIX, Key, StateStore, Write, transact};

/// How long a record lives.
const LIVES: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Reads the records of one peer, from the state store that it shares with its replicas. It needs no
/// broker and no running peer.
#[derive(Clone)]
pub struct RefusedMessages {
    state: Arc<dyn StateStore>,
    prefix: String,
}

impl RefusedMessages {
    /// How many records there are at most. A new one takes the place of the oldest.
    pub const KEPT: usize = 100;

    /// Those of the peer with this state store.
    pub fn new(state: impl StateStore) -> Self {
        Self::shared(Arc::new(state), DEFAULT_PREFIX.into())
    }

    /// The first part of the keys, as the peer was built with
    /// ([`Builder::state_prefix`](crate::propagator::Builder::state_prefix)). Default: `propagation`.
    #[must_use]
    pub fn state_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    pub(crate) fn shared(state: Arc<dyn StateStore>, prefix: String) -> Self {
        Self { state, prefix }
    }

    /// The newest records, at most `limit` of them, newest first.
    ///
    /// # Errors
    /// When the store cannot be reached or refuses.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn newest(&self, limit: usize) -> Result<Vec<RefusedMessage>, StoreError> {
        let keys: Vec<Key> = (0..slots()).map(|slot| self.slot(slot)).collect();
        let read = self.state.get(&keys).await?;
        let mut found: Vec<RefusedMessage> =
            read.iter().flatten().filter_map(|text| Record::parse(text)).collect();
        // Numbers start anew when the counter is lost; the time goes on.
        found.sort_by_key(|record| std::cmp::Reverse((record.at_ms, record.number)));
        found.truncate(limit);
        Ok(found)
    }

    /// Adds records, in their order. All of them are there, or none.
    pub(super) async fn add(&self, records: &[Record]) -> Result<(), StoreError> {
        let results = transact(
            &*self.state,
            &[records],
            |_| vec![self.counter()],
            |records, read| {
                let last = read.first().and_then(|text| text.as_deref()?.parse::<u64>().ok());
                ((), self.writes(records, last.unwrap_or(0)))
            },
        )
        .await;
        results.into_iter().collect()
    }

    fn writes(&self, records: &[Record], mut number: u64) -> Vec<Write> {
        let mut writes = Vec::with_capacity(records.len() + 1);
        for record in records {
            number = number.wrapping_add(1);
            let numbered = record.clone().numbered(number);
            writes.push(Write::set_for(self.slot(number % slots()), numbered.print(), LIVES));
        }
        writes.push(Write::set_for(self.counter(), number.to_string(), LIVES));
        writes
    }

    fn slot(&self, slot: u64) -> Key {
        Key::value(format!("{}:refused:{slot}", self.prefix))
    }

    fn counter(&self) -> Key {
        Key::value(format!("{}:refused:last", self.prefix))
    }
}

fn slots() -> u64 {
    u64::try_from(RefusedMessages::KEPT).unwrap_or(u64::MAX)
}

/// Adapters print what they like: only the prefix is shown.
impl fmt::Debug for RefusedMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusedMessages").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
