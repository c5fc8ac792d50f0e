//! Where deliveries wait that could not be carried out for now: kept in order per key, tried again
//! with backoff, never in a hot loop.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use super::Pending;
use crate::core::Core;

/// Items by key, in an order that does not differ from run to run. Bounded by the prefetch: every item holds an unsettled delivery, and those whose
/// connection has ended, which come again, are dropped.
#[derive(Debug)]
pub(super) struct Parking<K, M> {
    places: BTreeMap<K, Place<M>>,
}

#[derive(Debug)]
struct Place<M> {
    items: VecDeque<Pending<M>>,
    failures: u32,
    due: Instant,
}

/// Items that were taken out again, with how often their key has failed.
pub(super) struct Due<M> {
    pub(super) items: VecDeque<Pending<M>>,
    pub(super) failures: u32,
}

impl<K: Ord + Clone, M> Parking<K, M> {
    pub(super) fn new() -> Self {
        Self { places: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Puts an item behind those that wait under its key; gives it back where none does.
    pub(super) fn queue_behind(&mut self, key: &K, item: Pending<M>) -> Option<Pending<M>> {
        match self.places.get_mut(key) {
            Some(place) => {
                drop_dead(&mut place.items);
                place.items.push_back(item);
                None
            }
            None => Some(item),
        }
    }

    /// Keeps items that failed `failures + 1` times.
    pub(super) fn park(&mut self, core: &Core, key: K, item: Pending<M>, failures: u32) {
        let due = Instant::now() + core.limits.retry.delay(failures, &*core.entropy);
        let place = self.places.entry(key).or_insert_with(|| Place {
            items: VecDeque::new(),
            failures: failures.saturating_add(1),
            due,
        });
        place.items.push_back(item);
    }

    /// When the next key is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.places.values().map(|place| place.due).min()
    }

    /// Takes out what is due now.
    pub(super) fn take_due(&mut self) -> Vec<Due<M>> {
        let now = Instant::now();
        let due: Vec<K> = self
            .places
            .iter()
            .filter(|(_, place)| place.due <= now)
            .map(|(key, _)| key.clone())
            .collect();
        due.into_iter()
            .filter_map(|key| {
                let Place { mut items, failures, .. } = self.places.remove(&key)?;
                drop_dead(&mut items);
                Some(Due { items, failures })
            })
            .collect()
    }
}

fn drop_dead<M>(items: &mut VecDeque<Pending<M>>) {
    items.retain(|(_, delivery)| !delivery.is_dead());
}

/// Waits until something is due; for ever when nothing is parked.
pub(super) async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
