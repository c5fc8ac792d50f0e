//! What was said of stores by nobody who could be told from another.
//!
//! Of a holder of which nothing is known it proves nothing. If that turns out to be a receive-only target, it may have been
//! the target itself, before its first answer came.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Sighting;
use crate::id::{PeerQueue, Track};
use crate::store::StoreId;

/// Most holders of which something is remembered: anybody may say anything.
const MOST: usize = 4096;

/// The store that was named last for each holder. In memory: what a restart loses comes with an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Hearsay(Arc<Mutex<HashMap<(PeerQueue, Track), StoreId>>>);

impl Hearsay {
    pub(super) fn note(&self, seen: &Sighting) {
        let mut named = self.lock();
        let key = (seen.holder.clone(), seen.track);
        if named.len() == MOST && !named.contains_key(&key) {
            named.clear();
        }
        named.insert(key, seen.store.clone());
    }

    pub(super) fn of(&self, seen: &Sighting) -> Option<StoreId> {
        self.lock().get(&(seen.holder.clone(), seen.track)).cloned()
    }

    /// Something better is on record now.
    pub(super) fn forget(&self, seen: &Sighting) {
        self.lock().remove(&(seen.holder.clone(), seen.track));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(PeerQueue, Track), StoreId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Seen;
    use super::*;

    fn said(holder: &str, store: &str) -> Sighting {
        let (holder, store) = (PeerQueue::new(holder).unwrap(), StoreId::new(store).unwrap());
        Sighting { holder, track: Track::Http, store, proof: Seen::Unproved }
    }

    #[test]
    fn the_last_word_counts_until_it_is_forgotten() {
        let hearsay = Hearsay::default();
        hearsay.note(&said("orders", "a"));
        hearsay.note(&said("orders", "b"));
        assert_eq!(hearsay.of(&said("orders", "x")), StoreId::new("b").ok());
        assert_eq!(hearsay.of(&said("billing", "x")), None);
        hearsay.forget(&said("orders", "x"));
        assert_eq!(hearsay.of(&said("orders", "x")), None);
    }

    #[test]
    fn whoever_makes_names_up_uses_up_no_memory() {
        let hearsay = Hearsay::default();
        for number in 0..=MOST {
            hearsay.note(&said(&format!("peer-{number}"), "a"));
        }
        assert_eq!(hearsay.lock().len(), 1);
    }
}
