//! State in memory, for tests and for trying out. Gone when the process ends.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Committed, FieldPage, Key, StateStore, Transaction, Write};
use crate::error::StoreError;

/// State in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryState {
    tables: Arc<Mutex<Tables>>,
}

#[derive(Clone, Default)]
struct Tables {
    values: HashMap<Arc<str>, (String, Option<Instant>)>,
    hashes: HashMap<Arc<str>, BTreeMap<Arc<str>, String>>,
    /// With how many values the passed ones are looked for again.
    sweep_at: usize,
}

const PAGE: usize = 500;

/// Below this many values nothing is swept.
const SWEEP_MIN: usize = 1024;

impl MemoryState {
    /// Empty state.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything, as a store that lost its disk.
    pub fn wipe(&self) {
        *self.lock() = Tables::default();
    }

    /// What it holds now, apart from it.
    #[cfg(feature = "simulation")]
    pub(crate) fn copy(&self) -> Self {
        Self { tables: Arc::new(Mutex::new(self.lock().clone())) }
    }

    /// Goes back to what a copy holds.
    #[cfg(feature = "simulation")]
    pub(crate) fn restore(&self, copy: &Self) {
        let tables = copy.lock().clone();
        *self.lock() = tables;
    }

    /// The names of the values whose time has not passed.
    #[cfg(feature = "simulation")]
    pub(crate) fn names(&self) -> Vec<String> {
        let tables = self.lock();
        let mut names: Vec<_> = tables.values.keys().cloned().collect();
        names.retain(|name| tables.read(&Key::value(name.clone())).is_some());
        names.sort();
        names.iter().map(ToString::to_string).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Values hold secret hashes: none is shown.
impl fmt::Debug for MemoryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryState").finish_non_exhaustive()
    }
}

impl Tables {
    fn read(&self, key: &Key) -> Option<&String> {
        match &key.field {
            Some(field) => self.hashes.get(&key.name)?.get(field),
            None => self
                .values
                .get(&key.name)
                .filter(|(_, until)| until.is_none_or(|until| Instant::now() < until))
                .map(|(value, _)| value),
        }
    }

    fn write(&mut self, write: &Write) {
        let Key { name, field } = &write.key;
        match (field, &write.value) {
            (Some(field), Some(value)) => {
                self.hashes.entry(name.clone()).or_default().insert(field.clone(), value.clone());
            }
            (Some(field), None) => {
                if let Some(hash) = self.hashes.get_mut(name) {
                    hash.remove(field);
                }
            }
            (None, Some(value)) => {
                let until = write.ttl.map(|ttl| Instant::now() + ttl);
                self.values.insert(name.clone(), (value.clone(), until));
                self.sweep();
            }
            (None, None) => {
                self.values.remove(name);
            }
        }
    }

    /// Forgets values whose time has passed. Looks again only after the number has doubled, so a
    /// write costs the same on average however many there are.
    fn sweep(&mut self) {
        if self.values.len() < self.sweep_at.max(SWEEP_MIN) {
            return;
        }
        let now = Instant::now();
        self.values.retain(|_, (_, until)| until.is_none_or(|until| now < until));
        self.sweep_at = self.values.len() * 2;
    }

    fn run(&mut self, transaction: &Transaction) -> Committed {
        let holds =
            transaction.checks.iter().all(|check| self.read(&check.key) == check.expected.as_ref());
        if !holds {
            return Committed::Conflict;
        }
        transaction.writes.iter().for_each(|write| self.write(write));
        Committed::Done
    }
}

#[async_trait]
impl StateStore for MemoryState {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<String>>, StoreError> {
        let tables = self.lock();
        Ok(keys.iter().map(|key| tables.read(key).cloned()).collect())
    }

    async fn commit(&self, transactions: &[Transaction]) -> Result<Vec<Committed>, StoreError> {
        let mut tables = self.lock();
        Ok(transactions.iter().map(|transaction| tables.run(transaction)).collect())
    }

    async fn fields(&self, hash: &str, after: Option<String>) -> Result<FieldPage, StoreError> {
        let tables = self.lock();
        let Some(fields) = tables.hashes.get(hash) else {
            return Ok((Vec::new(), None));
        };
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let page: Vec<_> = fields
            .range::<str, _>((from, Bound::Unbounded))
            .take(PAGE)
            .map(|(field, value)| (field.to_string(), value.clone()))
            .collect();
        let next = (page.len() == PAGE).then(|| page.last().map(|(f, _)| f.clone())).flatten();
        Ok((page, next))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn values_whose_time_has_passed_do_not_pile_up() {
        let state = MemoryState::new();
        for round in 0..10 * SWEEP_MIN {
            let write =
                Write::set_for(Key::value(round.to_string()), "1", Duration::from_millis(100));
            state.commit(&[Transaction::default().write(write)]).await.unwrap();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(state.lock().values.len() <= SWEEP_MIN);
        let last = Key::value((10 * SWEEP_MIN - 1).to_string());
        assert_eq!(state.get(&[last]).await.unwrap(), [Some("1".into())]);
    }
}
