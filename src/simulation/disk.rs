//! One peer's Redis: what it holds, how it fails, and what is checked with every write.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use serde::Deserialize;
use tokio::time::Instant;

use super::fence::Fence;
use super::world::World;
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::id::{ClientId, CredentialKey, EventId, PeerQueue, Track};
use crate::state::{Committed, FieldPage, Key, MemoryState, StateStore, Transaction};
use crate::store::Credential;

/// What a peer's processes share and what outlives them.
pub(super) struct Disk {
    pub(super) owner: PeerQueue,
    /// Whether a Node peer writes it: the record first, the cursor after it.
    in_two_steps: bool,
    live: MemoryState,
    /// How often it was called.
    pub(super) calls: AtomicU64,
    /// What was surely on the disk at a time not longer than a second ago.
    saved: Mutex<(MemoryState, Instant)>,
    losses: AtomicU64,
    /// How often its server was started.
    runs: AtomicU64,
    down_until: Mutex<Instant>,
    read_only_until: Mutex<Instant>,
    refuses_until: Mutex<Instant>,
    refusals: AtomicU64,
    saves: AtomicBool,
}

/// The record of an event in flight, as it is stored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Flight {
    pub(super) event_id: EventId,
    pub(super) revision: u64,
    pub(super) answer: Option<serde_json::Value>,
}

impl Disk {
    pub(super) fn new(owner: PeerQueue, in_two_steps: bool, saves: bool) -> Self {
        let now = Instant::now();
        Self {
            owner,
            in_two_steps,
            live: MemoryState::new(),
            calls: AtomicU64::new(0),
            saved: Mutex::new((MemoryState::new(), now)),
            losses: AtomicU64::new(0),
            runs: AtomicU64::new(1),
            down_until: Mutex::new(now),
            read_only_until: Mutex::new(now),
            refuses_until: Mutex::new(now),
            refusals: AtomicU64::new(0),
            saves: AtomicBool::new(saves),
        }
    }

    /// How often it has lost something.
    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    pub(super) fn wipe(&self) {
        self.live.wipe();
        self.losses.fetch_add(1, Ordering::Relaxed);
    }

    /// Crashes and comes back with what it held a moment ago.
    pub(super) fn lose_the_last_second(&self) {
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        self.live.restore(&saved.0);
        self.losses.fetch_add(1, Ordering::Relaxed);
        self.runs.fetch_add(1, Ordering::Relaxed);
    }

    /// Stops, and is started again without having lost anything.
    pub(super) fn down_for(&self, time: Duration) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        *self.down_until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + time;
    }

    pub(super) fn read_only_for(&self, time: Duration) {
        *self.read_only_until.lock().unwrap_or_else(PoisonError::into_inner) =
            Instant::now() + time;
    }

    /// Refuses what it is asked to write, as keys of a wrong type do.
    pub(super) fn refuse_for(&self, time: Duration) {
        *self.refuses_until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + time;
    }

    /// How often it has refused something.
    pub(super) fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    fn refuses(&self) -> bool {
        Instant::now() < *self.refuses_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_down(&self) -> bool {
        Instant::now() < *self.down_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_read_only(&self) -> bool {
        Instant::now() < *self.read_only_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, keys: &[Key]) -> Vec<Option<String>> {
        self.live.get(keys).now_or_never().and_then(Result::ok).unwrap_or_default()
    }

    fn one(&self, key: Key) -> Option<String> {
        self.read(&[key]).pop().flatten()
    }

    pub(super) fn cursor(&self, key: &CredentialKey) -> Option<Cursor> {
        serde_json::from_str(&self.one(cursor_key(key))?).ok()
    }

    pub(super) fn credential(&self, key: &CredentialKey) -> Option<Credential> {
        Credential::from_stored(&self.one(record_key(&self.owner, key))?)
    }

    pub(super) fn flight(&self, key: &CredentialKey, target: &PeerQueue) -> Option<Flight> {
        let CredentialKey { track, client_id } = key;
        let name = format!("propagation:in-flight:{track}:{target}:{client_id}");
        serde_json::from_str(&self.one(Key::value(name))?).ok()
    }

    /// The books on a credential's revisions, as they are stored.
    pub(super) fn revision(&self, key: &CredentialKey) -> Option<serde_json::Value> {
        let name = format!("propagation:revision:{}:{}", key.track, key.client_id);
        serde_json::from_str(&self.one(Key::value(name))?).ok()
    }

    /// Whether a target has named more than one store.
    pub(super) fn knows_other_stores(&self, target: &PeerQueue, track: Track) -> bool {
        let record = self.one(Key::value(format!("propagation:target-store:{track}:{target}")));
        record.is_some_and(|record| record.contains("\"past\""))
    }

    /// Whether anybody is to be asked again.
    pub(super) fn wants_refills(&self) -> bool {
        let listed = self.live.fields("propagation:refills", None).now_or_never();
        listed.is_some_and(|listed| listed.is_ok_and(|(page, _)| !page.is_empty()))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.live.names()
    }

    fn save(&self) {
        if !self.saves.load(Ordering::Relaxed) {
            return;
        }
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if saved.1.elapsed() >= Duration::from_secs(1) {
            *saved = (self.live.copy(), Instant::now());
        }
    }

    fn commit(&self, world: &World, by: &str, transactions: &[Transaction]) -> Vec<Committed> {
        self.save();
        transactions.iter().map(|transaction| self.run(world, by, transaction)).collect()
    }

    fn run(&self, world: &World, by: &str, transaction: &Transaction) -> Committed {
        if self.refuses() && world.chance(500) {
            self.refusals.fetch_add(1, Ordering::Relaxed);
            return Committed::Refused("simulated: a key of another type".into());
        }
        let keys: Vec<Key> = transaction.writes.iter().map(|write| write.key.clone()).collect();
        let before = self.read(&keys);
        let committed = self
            .live
            .commit(std::slice::from_ref(transaction))
            .now_or_never()
            .and_then(Result::ok)
            .and_then(|mut outcomes| outcomes.pop())
            .unwrap_or(Committed::Conflict);
        let first = keys.first().map_or("", |key| &*key.name);
        world.note(format_args!("{by} writes {first} and {} more: {committed:?}", keys.len()));
        if committed == Committed::Done {
            self.check(world, transaction, &before);
        }
        committed
    }

    /// Looks at what a transaction has changed.
    fn check(&self, world: &World, transaction: &Transaction, before: &[Option<String>]) {
        let mut record = None;
        let mut cursor = None;
        for (write, before) in transaction.writes.iter().zip(before) {
            let name = &*write.key.name;
            let before = before.as_deref();
            if let Some(rest) = name.strip_prefix("propagation:last-seen:") {
                cursor = key_of(rest).zip(write.value.as_deref()).map(|both| (both, before));
            } else if let Some(rest) = name.strip_prefix("propagation:in-flight:") {
                self.check_flight(world, rest, before, write.value.as_deref());
            } else if name.ends_with(":clients") {
                record = Some(write.key.clone());
            }
        }
        match (record, cursor) {
            (_, Some(((key, now), before))) => self.check_cursor(world, &key, before, now),
            (Some(record), None) if !self.in_two_steps => {
                world.violate(format_args!(
                    "{}: {record:?} changed and its cursor did not move",
                    self.owner
                ));
            }
            _ => {}
        }
    }

    fn check_flight(&self, world: &World, rest: &str, before: Option<&str>, now: Option<&str>) {
        let read = |text: Option<&str>| serde_json::from_str::<Flight>(text?).ok();
        let (Some(old), Some(new)) = (read(before), read(now)) else { return };
        if new.revision < old.revision {
            world.violate(format_args!("{}: the event of {rest} went back", self.owner));
        }
        if new.revision == old.revision && new.event_id != old.event_id {
            world.violate(format_args!(
                "{}: one revision of {rest} went out as two events",
                self.owner
            ));
        }
    }

    fn check_cursor(&self, world: &World, key: &CredentialKey, before: Option<&str>, now: &str) {
        let Ok(now) = serde_json::from_str::<Cursor>(now) else {
            return world.violate(format_args!("{}: unreadable cursor of {key}", self.owner));
        };
        let before = before.and_then(|text| serde_json::from_str::<Cursor>(text).ok());
        if before.is_some_and(|before| now <= before) {
            world.violate(format_args!("{}: the cursor of {key} went back", self.owner));
        }
        let held = self.credential(key);
        if self.in_two_steps && self.losses() > 0 {
            // What it wrote first may be gone, and it does not look.
            return world.model().took_effect_unseen(&self.owner, key, &now);
        }
        if let Err(why) = world.model().took_effect(&self.owner, key, &now, held.as_ref()) {
            world.violate(format_args!("{}: {key} at {}: {why}", self.owner, now.ts));
        }
    }
}

/// `<track>:<client>`.
fn key_of(text: &str) -> Option<CredentialKey> {
    let (track, client) = text.split_once(':')?;
    Some(CredentialKey::new(track.parse::<Track>().ok()?, ClientId::new(client).ok()?))
}

pub(super) fn cursor_key(key: &CredentialKey) -> Key {
    Key::value(format!("propagation:last-seen:{}:{}", key.track, key.client_id))
}

pub(super) fn namespace(owner: &PeerQueue, track: Track) -> String {
    format!("{owner}:{track}")
}

pub(super) fn record_key(owner: &PeerQueue, key: &CredentialKey) -> Key {
    Key::field(format!("{}:clients", namespace(owner, key.track)), key.client_id.as_str())
}

/// A process's connection to it.
#[derive(Clone)]
pub(super) struct Books {
    pub(super) fence: Arc<Fence>,
    pub(super) disk: Arc<Disk>,
}

impl Books {
    async fn call<T>(
        &self,
        effect: impl FnOnce(&Disk) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.disk.calls.fetch_add(1, Ordering::Relaxed);
        let failures = self.fence.world.rates().state_fails;
        let done = self
            .fence
            .call(failures, || if self.disk.is_down() { Err(away()) } else { effect(&self.disk) });
        done.await.unwrap_or_else(|| Err(away()))
    }
}

fn away() -> StoreError {
    StoreError::transient("simulated: the store is away")
}

#[async_trait]
impl StateStore for Books {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<String>>, StoreError> {
        self.call(|disk| Ok(disk.read(keys))).await
    }

    async fn commit(&self, transactions: &[Transaction]) -> Result<Vec<Committed>, StoreError> {
        let Fence { world, name, .. } = &*self.fence;
        self.call(|disk| {
            if disk.is_read_only() {
                return Err(StoreError::transient("simulated: the store is read-only"));
            }
            Ok(disk.commit(world, name, transactions))
        })
        .await
    }

    async fn fields(&self, hash: &str, after: Option<String>) -> Result<FieldPage, StoreError> {
        self.call(|disk| {
            disk.live.fields(hash, after).now_or_never().unwrap_or_else(|| Err(away()))
        })
        .await
    }

    async fn incarnation(&self) -> Result<Option<String>, StoreError> {
        self.call(|disk| Ok(Some(format!("run-{}", disk.runs.load(Ordering::Relaxed))))).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.call(|_| Ok(())).await
    }
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Books").field("owner", &self.disk.owner).finish_non_exhaustive()
    }
}
