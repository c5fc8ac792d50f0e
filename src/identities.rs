//! Which stores this peer has, as far as this process has noticed, and who is to hear of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::id::{PeerQueue, Track};
use crate::store::StoreId;

/// Most sources that are remembered. Those beyond hear of another store with the next answer.
const MOST: usize = 10_000;

/// The identities of the own stores, and the sources of events.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    stores: Mutex<BTreeMap<Track, StoreId>>,
    sources: Mutex<BTreeSet<PeerQueue>>,
}

impl Identities {
    /// With sources that are known from the start.
    pub(crate) fn told_to(sources: BTreeSet<PeerQueue>) -> Self {
        Self { stores: Mutex::default(), sources: Mutex::new(sources) }
    }

    /// The store of a track; `None`: not known yet, or it cannot tell.
    pub(crate) fn get(&self, track: Track) -> Option<StoreId> {
        lock(&self.stores).get(&track).cloned()
    }

    /// Notes what a store was found to be. Returns whether it is another one than before.
    pub(crate) fn note(&self, track: Track, store: &StoreId) -> bool {
        lock(&self.stores).insert(track, store.clone()).as_ref() != Some(store)
    }

    /// Notes that a peer sends events.
    pub(crate) fn heard_from(&self, source: &PeerQueue) {
        let mut sources = lock(&self.sources);
        if sources.len() < MOST && !sources.contains(source) {
            sources.insert(source.clone());
        }
    }

    pub(crate) fn sources(&self) -> BTreeSet<PeerQueue> {
        lock(&self.sources).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
