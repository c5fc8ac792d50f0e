//! Decisions about a credential exclude the settling of its rows, within this process.
//!
//! Across processes the revision record does that. This lock closes the gap between reading the
//! record and calling the management side, for adapters that do not guard their rows.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::id::CredentialKey;

/// Enough that a decision that hangs holds up about one in a thousand other credentials.
const SHARDS: usize = 1024;

/// A fixed number of locks that credentials share by hash.
#[derive(Debug)]
pub(crate) struct CredentialLocks {
    shards: Vec<RwLock<()>>,
}

impl Default for CredentialLocks {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::new(())).collect() }
    }
}

impl CredentialLocks {
    /// For a decision.
    pub(crate) async fn decide(&self, key: &CredentialKey) -> RwLockWriteGuard<'_, ()> {
        self.shards[shard(key)].write().await
    }

    /// For settling rows of those credentials about which no decision is being made. Tells for each
    /// whether it is among them; nothing is waited for.
    pub(crate) fn try_settle<'k>(
        &self,
        keys: impl Iterator<Item = &'k CredentialKey>,
    ) -> (Vec<RwLockReadGuard<'_, ()>>, Vec<bool>) {
        let mut guards = BTreeMap::new();
        let mut held = Vec::new();
        for shard in keys.map(shard) {
            let guard = guards.entry(shard).or_insert_with(|| self.shards[shard].try_read().ok());
            held.push(guard.is_some());
        }
        (guards.into_values().flatten().collect(), held)
    }

    /// For settling rows of some credentials, after the decisions that are being made.
    pub(crate) async fn settle<'k>(
        &self,
        keys: impl Iterator<Item = &'k CredentialKey>,
    ) -> Vec<RwLockReadGuard<'_, ()>> {
        // In ascending order, so that two callers never wait for each other in a circle.
        let shards: BTreeSet<usize> = keys.map(shard).collect();
        let mut guards = Vec::with_capacity(shards.len());
        for shard in shards {
            guards.push(self.shards[shard].read().await);
        }
        guards
    }
}

fn shard(key: &CredentialKey) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    // Below the number of shards, so it fits.
    usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or(0)
}
