//! An authority's database: the reference management side, how it fails, and what is checked with
//! every callback.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::time::Instant;

use super::fence::Fence;
use super::model::Content;
use super::world::World;
use crate::id::{CredentialKey, PeerQueue, Revision, Track};
use crate::management::{
    CredentialPage, Decision, FetchCredentials, FetchPending, FullyPropagated, Management,
    ManagementError, Marked, MemoryManagement, Outcome, PendingPage, Proof, ReopenRows, Reopened,
    RotateCredential, Rotated, RowKey, RowStatus, RowView, StoredRestrictions, TargetError,
    TargetSent, TargetSuccess, UpsertCredential, Upserted,
};
use crate::secret::PropagationSecret;

type Answer<T> = Result<T, ManagementError>;

/// What an authority's processes share and what outlives them.
pub(super) struct Tables {
    pub(super) owner: PeerQueue,
    pub(super) memory: MemoryManagement,
    /// How often it was called.
    pub(super) calls: AtomicU64,
    /// Whether it takes every callback for one about the revision that it holds.
    naive: bool,
    /// Targets whose word is not to be relied on for these credentials.
    doubtful: BTreeSet<(CredentialKey, PeerQueue)>,
    pub(super) receive_only: BTreeSet<PeerQueue>,
    /// Whose rows were ever opened again, on which track.
    reopened: Mutex<BTreeSet<(Track, PeerQueue)>>,
    down_until: Mutex<Instant>,
}

impl Tables {
    pub(super) fn new(
        owner: PeerQueue,
        naive: bool,
        doubtful: BTreeSet<(CredentialKey, PeerQueue)>,
        receive_only: BTreeSet<PeerQueue>,
    ) -> Self {
        let memory = MemoryManagement::new();
        let down_until = Mutex::new(Instant::now());
        Self {
            owner,
            memory,
            calls: AtomicU64::new(0),
            naive,
            doubtful,
            receive_only,
            reopened: Mutex::default(),
            down_until,
        }
    }

    pub(super) fn down_for(&self, time: Duration) {
        *locked(&self.down_until) = Instant::now() + time;
    }

    fn is_down(&self) -> bool {
        Instant::now() < *locked(&self.down_until)
    }

    pub(super) fn has_reopened(&self, track: Track, target: &PeerQueue) -> bool {
        locked(&self.reopened).contains(&(track, target.clone()))
    }

    /// Runs a callback and compares the rows before and after it.
    fn watch<T>(
        &self,
        world: &World,
        keys: impl Iterator<Item = CredentialKey>,
        callback: impl Future<Output = Answer<T>>,
    ) -> Answer<T> {
        let keys: BTreeSet<CredentialKey> = keys.collect();
        let before: Vec<_> = keys.iter().map(|key| self.memory.rows(key)).collect();
        let done = callback.now_or_never().unwrap_or_else(|| Err(away()));
        for (key, before) in keys.iter().zip(before) {
            for row in self.memory.rows(key) {
                let old = before.iter().find(|old| old.target == row.target);
                self.check_row(world, key, old, &row);
            }
        }
        done
    }

    fn check_row(&self, world: &World, key: &CredentialKey, old: Option<&RowView>, row: &RowView) {
        if old == Some(row) {
            return;
        }
        let Self { owner, .. } = self;
        let RowView { target, revision, status, .. } = row;
        world.note(format_args!(
            "{owner} row {key} {target} {revision}: {} {:?}",
            status.as_str(),
            row.reason
        ));
        if let Some(old) = old.filter(|old| goes_back(old, row)) {
            world.violate(format_args!(
                "{owner}: the row of {key} at {target} went back from {} {} to {revision} {}",
                old.revision,
                old.status.as_str(),
                status.as_str(),
            ));
        }
        let newly = old.is_none_or(|old| old.revision != *revision || old.status != *status);
        if *status == RowStatus::Success && newly {
            self.check_success(world, key, row);
        }
    }

    fn check_success(&self, world: &World, key: &CredentialKey, row: &RowView) {
        let Self { owner, .. } = self;
        let RowView { target, revision, proof, .. } = row;
        let held = world.model().has_held(target, owner, key, revision.get());
        if !held && !self.doubtful.contains(&(key.clone(), target.clone())) {
            world.violate(format_args!(
                "{owner}: success of {key} {revision}, which {target} never held"
            ));
        }
        if *proof == Some(Proof::ReceiveOnly) && !self.receive_only.contains(target) {
            world.violate(format_args!("{owner}: {target} did not sign for {key}"));
        }
    }

    /// The revision that a naive adapter takes a callback to be about.
    fn taken(&self, row: &RowKey) -> RowKey {
        let held = self.memory.credential(&row.key).filter(|_| self.naive);
        RowKey { revision: held.map_or(row.revision, |held| held.revision), ..row.clone() }
    }

    /// What a decision came to, for the model.
    fn decided(
        &self,
        world: &World,
        key: &CredentialKey,
        revision: Revision,
        hash: Option<String>,
        stored: &StoredRestrictions,
    ) {
        let content = hash.map_or(Content::Removed, |hash| Content::Put {
            hash,
            allowed_ips: stored.allowed_ips.as_ref().map(|rules| rules.as_slice().to_vec()),
            expires_at: stored.expires_at,
        });
        world.note(format_args!("{} records {key} {revision}", self.owner));
        if let Err(why) = world.model().decided(&self.owner, key, revision.get(), content) {
            world.violate(format_args!("{}: {key}: {why}", self.owner));
        }
    }

    fn report(&self, world: &World, mut report: FullyPropagated) -> Answer<()> {
        let Some(held) = self.memory.credential(&report.key) else { return Ok(()) };
        if self.naive {
            report.revision = held.revision;
        }
        let rows = self.memory.rows(&report.key);
        // Rows that were opened again after the last one was settled: the report is ignored.
        let reopened = rows.iter().any(|row| self.has_reopened(report.key.track, &row.target));
        if held.revision == report.revision && !reopened {
            let open = rows.iter().filter(|row| is_open(row)).count();
            let (key, revision) = (&report.key, report.revision);
            if open > 0 {
                world.violate(format_args!(
                    "{}: {key} {revision} is reported with {open} rows open",
                    self.owner
                ));
            }
            if report.outcome > outcome(&rows) {
                world.violate(format_args!(
                    "{}: {key} {revision} is reported better than it is",
                    self.owner
                ));
            }
        }
        world.note(format_args!(
            "{} reported {} {} {}",
            self.owner, report.key, report.revision, report.outcome
        ));
        let done = self.memory.mark_credential_fully_propagated(report);
        done.now_or_never().unwrap_or_else(|| Err(away()))
    }
}

/// Whether a sync has something to do with it, now or later.
pub(super) fn is_open(row: &RowView) -> bool {
    match row.status {
        RowStatus::Success => false,
        RowStatus::Error => row.retry_at_ms.is_some(),
        _ => true,
    }
}

pub(super) fn outcome(rows: &[RowView]) -> Outcome {
    let succeeded = rows.iter().filter(|row| row.status == RowStatus::Success).count() as u64;
    Outcome::of(succeeded, rows.len() as u64 - succeeded)
}

fn goes_back(old: &RowView, new: &RowView) -> bool {
    if old.revision != new.revision {
        return new.revision < old.revision;
    }
    match (old.status, new.status) {
        (RowStatus::Success, status) => status != RowStatus::Success,
        (RowStatus::Pending, RowStatus::Pending) => false,
        (_, RowStatus::Pending) => true,
        (RowStatus::Error, RowStatus::Sent) => old.retry_at_ms.is_none(),
        _ => false,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn away() -> ManagementError {
    ManagementError::transient("simulated: the database is away")
}

/// A process's connection to it.
pub(super) struct Database {
    pub(super) fence: Arc<Fence>,
    pub(super) tables: Arc<Tables>,
}

impl Database {
    async fn call<T>(&self, effect: impl FnOnce(&Tables, &World) -> Answer<T>) -> Answer<T> {
        self.tables.calls.fetch_add(1, Ordering::Relaxed);
        let world = &self.fence.world;
        let done = self.fence.call(world.rates().management_fails, || {
            if self.tables.is_down() { Err(away()) } else { effect(&self.tables, world) }
        });
        done.await.unwrap_or_else(|| {
            if world.chance(world.rates().of_them_permanent) {
                Err(ManagementError::permanent("simulated: the database refuses"))
            } else {
                Err(away())
            }
        })
    }
}

#[async_trait]
impl Management for Database {
    async fn upsert_credential_with_targets(&self, request: UpsertCredential) -> Answer<Upserted> {
        self.call(|tables, world| {
            let (key, revision) = (request.key.clone(), request.revision);
            let hash = match &request.decision {
                Decision::Put { secret_hash, .. } => Some(secret_hash.expose().to_owned()),
                Decision::Delete => None,
            };
            let callback = tables.memory.upsert_credential_with_targets(request);
            let upserted = tables.watch(world, std::iter::once(key.clone()), callback)?;
            tables.decided(world, &key, revision, hash, &upserted.stored);
            Ok(upserted)
        })
        .await
    }

    async fn rotate_credential_secret(&self, request: RotateCredential) -> Answer<Option<Rotated>> {
        self.call(|tables, world| {
            let (key, revision) = (request.key.clone(), request.revision);
            let hash = request.secret_hash.expose().to_owned();
            let callback = tables.memory.rotate_credential_secret(request);
            let rotated = tables.watch(world, std::iter::once(key.clone()), callback)?;
            if let Some(rotated) = &rotated {
                tables.decided(world, &key, revision, Some(hash), &rotated.stored);
            }
            Ok(rotated)
        })
        .await
    }

    async fn fetch_pending_propagations(&self, request: FetchPending) -> Answer<PendingPage> {
        self.call(|tables, _| {
            let page = tables.memory.fetch_pending_propagations(request);
            page.now_or_never().unwrap_or_else(|| Err(away()))
        })
        .await
    }

    async fn fetch_source_propagation_secret(
        &self,
        source: &PeerQueue,
    ) -> Answer<Option<PropagationSecret>> {
        self.call(|tables, _| {
            let secret = tables.memory.fetch_source_propagation_secret(source);
            secret.now_or_never().unwrap_or_else(|| Err(away()))
        })
        .await
    }

    async fn mark_target_sent(&self, sent: &[TargetSent]) -> Answer<()> {
        self.call(|tables, world| {
            let taken =
                |entry: &TargetSent| TargetSent { row: tables.taken(&entry.row), ..entry.clone() };
            let sent: Vec<_> = sent.iter().map(taken).collect();
            let keys = sent.iter().map(|entry| entry.row.key.clone());
            tables.watch(world, keys, tables.memory.mark_target_sent(&sent))
        })
        .await
    }

    async fn mark_target_success(&self, applied: &[TargetSuccess]) -> Answer<Vec<Marked>> {
        self.call(|tables, world| {
            let taken = |entry: &TargetSuccess| TargetSuccess {
                row: tables.taken(&entry.row),
                ..entry.clone()
            };
            let applied: Vec<_> = applied.iter().map(taken).collect();
            let keys = applied.iter().map(|entry| entry.row.key.clone());
            tables.watch(world, keys, tables.memory.mark_target_success(&applied))
        })
        .await
    }

    async fn mark_target_error(&self, failed: &[TargetError]) -> Answer<Vec<Marked>> {
        self.call(|tables, world| {
            let taken = |entry: &TargetError| TargetError {
                row: tables.taken(&entry.row),
                ..entry.clone()
            };
            let failed: Vec<_> = failed.iter().map(taken).collect();
            let keys = failed.iter().map(|entry| entry.row.key.clone());
            tables.watch(world, keys, tables.memory.mark_target_error(&failed))
        })
        .await
    }

    async fn mark_credential_fully_propagated(&self, report: FullyPropagated) -> Answer<()> {
        self.call(|tables, world| tables.report(world, report)).await
    }

    async fn reopen_rows(&self, request: ReopenRows) -> Answer<Reopened> {
        self.call(|tables, world| {
            let ReopenRows { target, track, proved_by: store, .. } = request.clone();
            let reopened = tables.memory.reopen_rows(request).now_or_never();
            let reopened = reopened.unwrap_or_else(|| Err(away()))?;
            if reopened.rows > 0 {
                locked(&tables.reopened).insert((track, target.clone()));
            }
            world.note(format_args!(
                "{} asks {target} again for {} rows, now of {store:?}",
                tables.owner, reopened.rows
            ));
            Ok(reopened)
        })
        .await
    }

    async fn fetch_credentials(&self, request: FetchCredentials) -> Answer<CredentialPage> {
        self.call(|tables, _| {
            let page = tables.memory.fetch_credentials(request);
            page.now_or_never().unwrap_or_else(|| Err(away()))
        })
        .await
    }

    async fn fetch_peers(&self) -> Answer<Vec<PeerQueue>> {
        self.call(|tables, _| {
            let peers = tables.memory.fetch_peers();
            peers.now_or_never().unwrap_or_else(|| Err(away()))
        })
        .await
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("owner", &self.tables.owner).finish_non_exhaustive()
    }
}
