//! What is known of the stores of those that hold credentials: each target's, and the own.
//!
//! A target names its store with each answer. Another name than before means that what was proved
//! under the old one may be gone: the target is put on a list, and the next sync asks it again.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{Ledger, parse, print};
use crate::error::StoreError;
use crate::id::{PeerQueue, Track};
use crate::mutation::{Mutation, is_on};
use crate::state::{Key, Write, transact};
use crate::store::StoreId;

/// How many earlier stores of a target are remembered, so that a late answer out of one of them is
/// told from the first answer out of a new one.
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
    /// It is the one that the target has now, in place of another one.
    Replaced,
    /// Another one was named after it. Either this is late, and the target has lost it since; or the
    /// other one was late. Nothing is proved until the target was asked again.
    Doubtful,
    /// Whoever says so may be anybody, and the target is one that signs.
    Unbelieved,
    /// Whoever says so may be anybody, and nothing is known of the target.
    Unknown,
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
    /// The store's name came in place of another one and may be the late one of the two: if no row has to be
    /// asked again by it, one is all the same, because the answer tells.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) confirm: bool,
    /// When it was seen first that no row can be asked, in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) looked_ms: Option<u64>,
    /// Differs from one time to the next that it is put on the list: what is wanted once more while a sync
    /// works on it is not done with it.
    #[serde(default)]
    pub(crate) turn: u32,
}

impl Refill {
    pub(crate) fn of(track: Track, holder: PeerQueue, store: Option<StoreId>) -> Self {
        Self { track, holder, store, confirm: false, looked_ms: None, turn: 0 }
    }
}

impl HolderRecord {
    /// What a sighting makes of a record: the new one, how the store stands, and whether the holder is to
    /// be asked again. `said`: the store that somebody named for it before anything was known of it.
    ///
    /// Nothing tells which of two stores is the newer one: clocks and counters are lost with them. So the one
    /// that was named last counts, and where that may be a late one all is asked again: the answers to that
    /// name the store that the holder really has.
    fn after(
        old: Option<Self>,
        seen: &Sighting,
        said: Option<StoreId>,
    ) -> (Option<Self>, Standing, bool) {
        let Sighting { store, proof, .. } = seen;
        let declared = *proof == Seen::ByReceiveOnly;
        let Some(mut record) = old else {
            if *proof == Seen::Unproved {
                return (None, Standing::Unknown, false);
            }
            // It was the holder, as it turns out, which cannot prove what it says.
            if let Some(current) = said.filter(|said| declared && said != store) {
                let first = Self { current, past: vec![store.clone()], receive_only: true };
                return (Some(first), Standing::Doubtful, true);
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
        let was_named = record.past.contains(store);
        if was_named && is_on(Mutation::PastStoreBelieved) {
            return (Some(record), Standing::Current, false);
        }
        let before = std::mem::replace(&mut record.current, store.clone());
        record.past.retain(|past| past != store);
        record.past.insert(0, before);
        record.past.truncate(REMEMBERED);
        (Some(record), if was_named { Standing::Doubtful } else { Standing::Replaced }, true)
    }
}

impl Ledger {
    /// Takes note of stores that were named. What was proved under another one than a target has now
    /// is on the list of [`Ledger::refills`] when this returns.
    pub(crate) async fn sight(&self, sightings: &[Sighting]) -> Vec<Result<Standing, StoreError>> {
        let names: Vec<Key> =
            sightings.iter().map(|seen| self.holder_key(seen.track, &seen.holder)).collect();
        let read = match self.state.get(&names).await {
            Ok(read) => read,
            Err(error) => return sightings.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut results = Vec::with_capacity(sightings.len());
        let mut changed = Vec::new();
        for (index, seen) in sightings.iter().enumerate() {
            let old: Option<HolderRecord> = parse(&read, index);
            let (new, standing, _) = HolderRecord::after(old.clone(), seen, self.hearsay.of(seen));
            if standing == Standing::Unknown {
                self.hearsay.note(seen);
            }
            // Nearly always there is nothing to note.
            if new != old {
                changed.push(index);
            }
            results.push(Ok(standing));
        }
        // All holders together, but what one holder said in its order.
        while !changed.is_empty() {
            let mut holders = HashSet::new();
            let (now, later): (Vec<usize>, Vec<usize>) = changed.into_iter().partition(|&index| {
                let Sighting { holder, track, .. } = &sightings[index];
                holders.insert((holder, track))
            });
            let noted: Vec<&Sighting> = now.iter().map(|&index| &sightings[index]).collect();
            for (index, standing) in now.into_iter().zip(self.note(&noted).await) {
                results[index] = standing;
            }
            changed = later;
        }
        results
    }

    async fn note(&self, sightings: &[&Sighting]) -> Vec<Result<Standing, StoreError>> {
        let keys = |seen: &&Sighting| {
            let Sighting { holder, track, .. } = seen;
            vec![self.holder_key(*track, holder), self.refill_key(*track, holder)]
        };
        let decide = |seen: &&Sighting, read: &[Option<String>]| {
            let old: Option<HolderRecord> = parse(read, 0);
            let said = self.hearsay.of(seen);
            let (new, standing, ask_again) = HolderRecord::after(old.clone(), seen, said);
            let mut writes = Vec::new();
            // Before the record: a server that refuses it then has changed nothing.
            if ask_again && !is_on(Mutation::LostStoreIgnored) {
                let Sighting { holder, track, store, .. } = (*seen).clone();
                let store = Some(store).filter(|_| standing != Standing::Doubtful);
                let confirm = standing != Standing::Current;
                let wanted = Refill { confirm, ..Refill::of(track, holder, store) };
                writes.push(self.listed(parse(read, 1), wanted));
            }
            if let Some(record) = new.filter(|new| old.as_ref() != Some(new)) {
                writes.push(Write::set(self.holder_key(seen.track, &seen.holder), print(&record)));
            }
            (standing, writes)
        };
        let noted = transact(self.state(), sightings, keys, decide).await;
        for (seen, standing) in sightings.iter().zip(&noted) {
            if standing.is_ok() {
                self.hearsay.forget(seen);
            }
        }
        noted
    }

    /// Puts a holder on the list. Without a store it is asked for all that it has proved, whatever store it
    /// has.
    pub(crate) async fn want(
        &self,
        track: Track,
        holder: &PeerQueue,
        store: Option<StoreId>,
    ) -> Result<(), StoreError> {
        let wanted = Refill::of(track, holder.clone(), store);
        let decide =
            |read: &[Option<String>]| ((), vec![self.listed(parse(read, 0), wanted.clone())]);
        self.change(|| vec![self.refill_key(track, holder)], decide).await
    }

    /// Who is to be asked again.
    pub(crate) async fn refills(&self) -> Result<Vec<Refill>, StoreError> {
        // A page may repeat what stood on another one.
        let (mut wanted, mut after) = (BTreeMap::new(), None);
        loop {
            let (page, next) = self.state.fields(&self.refills_name(), after).await?;
            wanted.extend(page);
            if next.is_none() {
                break;
            }
            after = next;
        }
        Ok(wanted.values().filter_map(|entry| serde_json::from_str(entry).ok()).collect())
    }

    /// No row of one of the list can be asked now.
    pub(crate) async fn looked(&self, wanted: &Refill, at_ms: u64) -> Result<(), StoreError> {
        let looked = Refill { looked_ms: Some(at_ms), ..wanted.clone() };
        self.replace(wanted, |key| Write::set(key, print(&looked))).await
    }

    /// One of the list is done. Should it have been put there once more meanwhile, it stays.
    pub(crate) async fn refilled(&self, done: &Refill) -> Result<(), StoreError> {
        self.replace(done, Write::remove).await
    }

    /// Changes one of the list that is still as it was.
    async fn replace(
        &self,
        old: &Refill,
        write: impl Fn(Key) -> Write + Send + Sync,
    ) -> Result<(), StoreError> {
        let key = || self.refill_key(old.track, &old.holder);
        let decide = |read: &[Option<String>]| {
            let same = parse::<Refill>(read, 0).as_ref() == Some(old);
            ((), same.then(|| write(key())).into_iter().collect())
        };
        self.change(|| vec![key()], decide).await
    }

    /// An entry of the list, beside the one that stands there already. Of what was proved by two stores
    /// nothing need be left by either, so that with another store all is asked.
    fn listed(&self, listed: Option<Refill>, mut wanted: Refill) -> Write {
        // Another one than any before, also than one that is done and gone.
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the low digits differ from one moment to the next"
        )]
        let moment = self.clock.now_ms() as u32;
        wanted.turn = moment;
        if let Some(listed) = listed {
            wanted.turn = moment.max(listed.turn.wrapping_add(1));
            wanted.store = wanted.store.filter(|store| listed.store.as_ref() == Some(store));
            wanted.confirm |= listed.confirm;
        }
        Write::set(self.refill_key(wanted.track, &wanted.holder), print(&wanted))
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

    /// The list has a field for each holder, so that an entry costs the same however long it is.
    fn refills_name(&self) -> String {
        format!("{}:refills", self.prefix)
    }

    fn refill_key(&self, track: Track, holder: &PeerQueue) -> Key {
        Key::field(self.refills_name(), format!("{track}:{holder}"))
    }
}

/// The store that a target has, by its record.
pub(super) fn current_store(read: &[Option<String>], index: usize) -> Option<StoreId> {
    parse::<HolderRecord>(read, index).map(|record| record.current)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::clock::Clock;
    use crate::ledger::Timing;
    use crate::state::MemoryState;

    fn seen(store: &str, proof: Seen) -> Sighting {
        let holder = PeerQueue::new("orders").unwrap();
        Sighting { holder, track: Track::Http, store: StoreId::new(store).unwrap(), proof }
    }

    fn after(
        old: Option<HolderRecord>,
        store: &str,
        proof: Seen,
    ) -> (HolderRecord, Standing, bool) {
        let (record, standing, is_new) = HolderRecord::after(old, &seen(store, proof), None);
        (record.unwrap(), standing, is_new)
    }

    #[test]
    fn another_store_is_new_once() {
        let (record, standing, is_new) = after(None, "a", Seen::Proved);
        assert_eq!((standing, is_new), (Standing::Current, true));
        let (record, standing, is_new) = after(Some(record), "a", Seen::Proved);
        assert_eq!((standing, is_new), (Standing::Current, false));
        let (record, standing, is_new) = after(Some(record), "b", Seen::Proved);
        assert_eq!((standing, is_new), (Standing::Replaced, true));
        let (_, standing, is_new) = after(Some(record), "b", Seen::Proved);
        assert_eq!((standing, is_new), (Standing::Current, false));
    }

    #[test]
    fn a_store_that_was_named_before_the_present_one_proves_nothing_until_it_is_asked_again() {
        let record = ["a", "b"].iter().fold(None, |old, id| Some(after(old, id, Seen::Proved).0));
        // A late answer out of "a", or "b" was a late announcement: nobody can tell.
        let (record, standing, again) = after(record, "a", Seen::Proved);
        assert_eq!((standing, again), (Standing::Doubtful, true));
        // The answer to what is asked then tells.
        let (_, standing, again) = after(Some(record.clone()), "a", Seen::Proved);
        assert_eq!((standing, again), (Standing::Current, false));
        let (record, standing, again) = after(Some(record), "b", Seen::Proved);
        assert_eq!((standing, again), (Standing::Doubtful, true));
        let (_, standing, again) = after(Some(record), "b", Seen::Proved);
        assert_eq!((standing, again), (Standing::Current, false));
    }

    #[test]
    fn who_cannot_sign_is_believed_only_where_that_is_known() {
        let (none, standing, is_new) = HolderRecord::after(None, &seen("a", Seen::Unproved), None);
        assert_eq!((none, standing, is_new), (None, Standing::Unknown, false));
        let (signing, ..) = after(None, "a", Seen::Proved);
        let (kept, standing, is_new) = after(Some(signing.clone()), "b", Seen::Unproved);
        assert_eq!((kept, standing, is_new), (signing, Standing::Unbelieved, false));
        let (silent, ..) = after(None, "a", Seen::ByReceiveOnly);
        let (_, standing, is_new) = after(Some(silent), "b", Seen::Unproved);
        assert_eq!((standing, is_new), (Standing::Replaced, true));
    }

    #[test]
    fn an_answer_that_is_older_than_what_its_holder_said_unproved_proves_nothing() {
        let claimed = Some(StoreId::new("new").unwrap());
        let late = seen("old", Seen::ByReceiveOnly);
        let (record, standing, again) = HolderRecord::after(None, &late, claimed.clone());
        assert_eq!((standing, again), (Standing::Doubtful, true));
        let (_, standing, _) = after(record, "new", Seen::ByReceiveOnly);
        assert_eq!(standing, Standing::Current);
        // Somebody else may have said it: of one who signs, it means nothing.
        let signed = seen("old", Seen::Proved);
        let (_, standing, _) = HolderRecord::after(None, &signed, claimed);
        assert_eq!(standing, Standing::Current);
    }

    #[derive(Debug, Default)]
    struct Moment(AtomicU64);

    impl Clock for Moment {
        fn now_ms(&self) -> u64 {
            self.0.fetch_add(1, Ordering::Relaxed)
        }
    }

    fn ledger() -> Ledger {
        let clock = Arc::new(Moment::default());
        Ledger::new(Arc::new(MemoryState::new()), clock, "p".into(), Timing::default())
    }

    #[tokio::test]
    async fn what_one_holder_says_at_once_counts_in_its_order() {
        let ledger = ledger();
        let said = |stores: &[&str]| stores.iter().map(|id| seen(id, Seen::Proved)).collect();
        let said: [Vec<_>; 2] = [said(&["a"]), said(&["c", "b", "c"])];
        for sightings in &said {
            let noted = ledger.sight(sightings).await;
            assert!(noted.iter().all(Result::is_ok));
        }
        let key = ledger.holder_key(Track::Http, &PeerQueue::new("orders").unwrap());
        let read = ledger.state.get(&[key]).await.unwrap();
        assert_eq!(current_store(&read, 0), StoreId::new("c").ok());
    }

    #[tokio::test]
    async fn what_is_wanted_again_is_not_done_with_what_was_wanted_before() {
        let (ledger, holder) = (ledger(), PeerQueue::new("orders").unwrap());
        let want = || async { ledger.want(Track::Http, &holder, None).await.unwrap() };
        want().await;
        let before = ledger.refills().await.unwrap().remove(0);
        // Another replica has done it, and then it was wanted again.
        ledger.refilled(&before).await.unwrap();
        assert!(ledger.refills().await.unwrap().is_empty());
        want().await;
        ledger.refilled(&before).await.unwrap();
        let again = ledger.refills().await.unwrap().remove(0);
        // While it stands there, too.
        want().await;
        ledger.refilled(&again).await.unwrap();
        assert_eq!(ledger.refills().await.unwrap().len(), 1);
    }

    #[test]
    fn stores_that_change_all_the_time_are_not_remembered_without_a_bound() {
        let mut record = None;
        for number in 0..100 {
            record = Some(after(record, &format!("store-{number}"), Seen::Proved).0);
        }
        assert_eq!(record.unwrap().past.len(), REMEMBERED);
    }
}
