//! What is known of the stores of those that hold credentials: each target's, and the own.
//!
//! A target names its store with each answer. Another name than before means that what was proved
//! under the old one may be gone: the target is put on a list, and the next sync asks it again.

use serde::{Deserialize, Serialize};

use super::{Ledger, parse, print};
use crate::error::StoreError;
use crate::id::{PeerQueue, Track};
use crate::mutation::{Mutation, is_on};
use crate::state::{Key, Write, transact};
use crate::store::StoreId;

/// How many earlier stores of a target are remembered, so that a late answer from one of them is
/// told from the first answer of a new one.
const REMEMBERED: usize = 16;

/// What is known of a target's store of one track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HolderRecord {
    current: StoreId,
    /// The last first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    past: Vec<StoreId>,
    /// It cannot sign what it says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    receive_only: bool,
}

/// Somebody named a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) holder: PeerQueue,
    pub(crate) track: Track,
    pub(crate) store: StoreId,
    /// Whether the holder proved who it is; if not, it counts where it is known that it cannot.
    pub(crate) proof: Seen,
}

/// How a sighting came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Signed, or here.
    Proved,
    /// With an answer of a target that is declared receive-only.
    ByReceiveOnly,
    /// By nobody who could be told from another.
    Unproved,
}

/// How the store of an answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is the one that the target has.
    Current,
    /// The target has another one by now: what was applied there proves nothing.
    Past,
    /// Whoever says so may be anybody.
    Unbelieved,
}

/// Somebody to be asked again, or the own store to be filled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refill {
    pub(crate) track: Track,
    pub(crate) holder: PeerQueue,
    /// What this store has proved need not be asked again; `None`: all is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<StoreId>,
}

impl HolderRecord {
    /// What a sighting makes of a record: the new one, how the store stands, and whether it is new.
    fn after(old: Option<Self>, seen: &Sighting) -> (Option<Self>, Standing, bool) {
        let Sighting { store, proof, .. } = seen;
        let declared = *proof == Seen::ByReceiveOnly;
        let Some(mut record) = old else {
            if *proof == Seen::Unproved {
                return (None, Standing::Unbelieved, false);
            }
            let first = Self { current: store.clone(), past: Vec::new(), receive_only: declared };
            return (Some(first), Standing::Current, true);
        };
        if *proof == Seen::Unproved && !record.receive_only {
            return (Some(record), Standing::Unbelieved, false);
        }
        record.receive_only = match proof {
            Seen::Proved => false,
            Seen::ByReceiveOnly => true,
            Seen::Unproved => record.receive_only,
        };
        if record.current == *store {
            return (Some(record), Standing::Current, false);
        }
        if record.past.contains(store) {
            return (Some(record), Standing::Past, false);
        }
        let before = std::mem::replace(&mut record.current, store.clone());
        record.past.insert(0, before);
        record.past.truncate(REMEMBERED);
        (Some(record), Standing::Current, true)
    }
}

impl Ledger {
    /// Takes note of stores that were named. What was proved under another one than a target has now
    /// is on the list of [`Ledger::refills`] when this returns.
    pub(crate) async fn sight(&self, sightings: &[Sighting]) -> Vec<Result<Standing, StoreError>> {
        let keys =
            |seen: &Sighting| vec![self.holder_key(seen.track, &seen.holder), self.refills_key()];
        transact(self.state(), sightings, keys, |seen, read| {
            let old: Option<HolderRecord> = parse(read, 0);
            let (new, standing, is_new) = HolderRecord::after(old.clone(), seen);
            let mut writes = Vec::new();
            if let Some(record) = new.filter(|new| old.as_ref() != Some(new)) {
                writes.push(Write::set(self.holder_key(seen.track, &seen.holder), print(&record)));
            }
            if is_new && !is_on(Mutation::LostStoreIgnored) {
                let Sighting { holder, track, store, .. } = seen.clone();
                let wanted = Refill { track, holder, store: Some(store) };
                writes.extend(self.listed(read.get(1), wanted));
            }
            (standing, writes)
        })
        .await
    }

    /// Puts a holder on the list. Without a store it is asked for all that it has proved, whatever store it
    /// has.
    pub(crate) async fn want(
        &self,
        track: Track,
        holder: &PeerQueue,
        store: Option<StoreId>,
    ) -> Result<(), StoreError> {
        let wanted = Refill { track, holder: holder.clone(), store };
        let decide = |read: &[Option<String>]| {
            ((), self.listed(read.first(), wanted.clone()).into_iter().collect())
        };
        self.change(|| vec![self.refills_key()], decide).await
    }

    /// Who is to be asked again.
    pub(crate) async fn refills(&self) -> Result<Vec<Refill>, StoreError> {
        let read = self.state.get(&[self.refills_key()]).await?;
        Ok(parse(&read, 0).unwrap_or_default())
    }

    /// One of the list is done. Should the same holder have been put on it anew meanwhile, it stays.
    pub(crate) async fn refilled(&self, done: &Refill) -> Result<(), StoreError> {
        let decide = |read: &[Option<String>]| {
            let mut list: Vec<Refill> = parse(read, 0).unwrap_or_default();
            let before = list.len();
            list.retain(|listed| listed != done);
            let key = self.refills_key();
            let write = match list.len() {
                same if same == before => None,
                0 => Some(Write::remove(key)),
                _ => Some(Write::set(key, print(&list))),
            };
            ((), write.into_iter().collect())
        };
        self.change(|| vec![self.refills_key()], decide).await
    }

    /// The list with one more entry. What is asked of all covers what is asked of one store.
    fn listed(&self, list: Option<&Option<String>>, wanted: Refill) -> Option<Write> {
        let list = list.and_then(Option::as_deref).and_then(|text| serde_json::from_str(text).ok());
        let mut list: Vec<Refill> = list.unwrap_or_default();
        let same =
            |listed: &&mut Refill| listed.track == wanted.track && listed.holder == wanted.holder;
        match list.iter_mut().find(same) {
            Some(listed) if listed.store.is_none() || *listed == wanted => return None,
            Some(listed) => *listed = wanted,
            None => list.push(wanted),
        }
        Some(Write::set(self.refills_key(), print(&list)))
    }

    /// The own store of a track of which the sources were told last.
    pub(crate) async fn announced(&self, track: Track) -> Result<Option<StoreId>, StoreError> {
        let read = self.state.get(&[self.announced_key(track)]).await?;
        Ok(read.into_iter().next().flatten().and_then(|id| StoreId::new(id).ok()))
    }

    /// The sources were told of this store.
    pub(crate) async fn note_announced(
        &self,
        track: Track,
        store: &StoreId,
    ) -> Result<(), StoreError> {
        let write = || Write::set(self.announced_key(track), store.as_str());
        self.change(|| vec![self.announced_key(track)], |_| ((), vec![write()])).await
    }

    fn announced_key(&self, track: Track) -> Key {
        Key::value(format!("{}:store-announced:{track}", self.prefix))
    }

    pub(super) fn holder_key(&self, track: Track, holder: &PeerQueue) -> Key {
        Key::value(format!("{}:target-store:{track}:{holder}", self.prefix))
    }

    fn refills_key(&self) -> Key {
        Key::value(format!("{}:refill", self.prefix))
    }
}

/// The store that a target has, by its record.
pub(super) fn current_store(read: &[Option<String>], index: usize) -> Option<StoreId> {
    parse::<HolderRecord>(read, index).map(|record| record.current)
}
