//! A management side in memory: for tests, for trying out, and as a model for adapters.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::rows::{
    FetchPending, Operation, PendingPage, PendingPropagation, PendingTarget, PendingWork, RowStatus,
};
use super::{
    Decision, FullyPropagated, Management, ManagementError, Marked, Outcome, Proof,
    RotateCredential, Rotated, RowKey, StoredRestrictions, TargetError, TargetSent, TargetSuccess,
    UpsertCredential, Upserted,
};
use crate::id::{CredentialKey, EventId, PeerQueue, Revision};
use crate::secret::{ClientSecret, PropagationSecret, SecretHash};
use crate::store::Expiry;

/// A management side in memory. Clones share it. Gone when the process ends.
#[derive(Clone, Default)]
pub struct MemoryManagement {
    tables: Arc<Mutex<Tables>>,
}

#[derive(Default)]
struct Tables {
    directory: BTreeMap<PeerQueue, DirectoryEntry>,
    credentials: BTreeMap<CredentialKey, CredentialEntry>,
    rows: BTreeMap<CredentialKey, BTreeMap<PeerQueue, RowEntry>>,
}

struct DirectoryEntry {
    secret: PropagationSecret,
    receive_only: bool,
}

struct CredentialEntry {
    revision: Revision,
    /// `None`: deleted.
    secret_hash: Option<SecretHash>,
    restrictions: StoredRestrictions,
    plain_secret: Option<ClientSecret>,
    first_revision: bool,
    reported: Option<Outcome>,
}

#[derive(Clone)]
struct RowEntry {
    revision: Revision,
    status: RowStatus,
    event_id: Option<EventId>,
    attempts: u32,
    retry_at_ms: Option<u64>,
    reason: Option<String>,
    proof: Option<Proof>,
}

/// A credential as [`MemoryManagement`] holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialView {
    /// Its revision.
    pub revision: Revision,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Whether a plain secret is kept.
    pub keeps_plain_secret: bool,
    /// How its revision was reported; `None`: not yet.
    pub reported: Option<Outcome>,
}

/// A row as [`MemoryManagement`] holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowView {
    /// The target.
    pub target: PeerQueue,
    /// The revision that it is to hold.
    pub revision: Revision,
    /// Where it stands.
    pub status: RowStatus,
    /// The event that carries it.
    pub event_id: Option<EventId>,
    /// How often it was sent.
    pub attempts: u32,
    /// Why it failed last.
    pub reason: Option<String>,
    /// How the target proved that it holds it.
    pub proof: Option<Proof>,
}

impl MemoryManagement {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a peer to the directory, or changes it.
    pub fn add_target(&self, queue: PeerQueue, secret: PropagationSecret) {
        self.lock().directory.insert(queue, DirectoryEntry { secret, receive_only: false });
    }

    /// Adds a peer that cannot sign its answers, or changes it.
    pub fn add_receive_only_target(&self, queue: PeerQueue, secret: PropagationSecret) {
        self.lock().directory.insert(queue, DirectoryEntry { secret, receive_only: true });
    }

    /// A credential.
    #[must_use]
    pub fn credential(&self, key: &CredentialKey) -> Option<CredentialView> {
        self.lock().credentials.get(key).map(|entry| CredentialView {
            revision: entry.revision,
            deleted: entry.secret_hash.is_none(),
            keeps_plain_secret: entry.plain_secret.is_some(),
            reported: entry.reported,
        })
    }

    /// A credential's rows, by target.
    #[must_use]
    pub fn rows(&self, key: &CredentialKey) -> Vec<RowView> {
        let tables = self.lock();
        let rows = tables.rows.get(key).into_iter().flatten();
        rows.map(|(target, row)| RowView {
            target: target.clone(),
            revision: row.revision,
            status: row.status,
            event_id: row.event_id.clone(),
            attempts: row.attempts,
            reason: row.reason.clone(),
            proof: row.proof,
        })
        .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Secrets inside: nothing is shown.
impl fmt::Debug for MemoryManagement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryManagement").finish_non_exhaustive()
    }
}

#[async_trait]
impl Management for MemoryManagement {
    async fn upsert_credential_with_targets(
        &self,
        request: UpsertCredential,
    ) -> Result<Upserted, ManagementError> {
        self.lock().upsert(request)
    }

    async fn rotate_credential_secret(
        &self,
        request: RotateCredential,
    ) -> Result<Option<Rotated>, ManagementError> {
        self.lock().rotate(request)
    }

    async fn fetch_pending_propagations(
        &self,
        request: FetchPending,
    ) -> Result<PendingPage, ManagementError> {
        self.lock().fetch(&request)
    }

    async fn fetch_source_propagation_secret(
        &self,
        source: &PeerQueue,
    ) -> Result<Option<PropagationSecret>, ManagementError> {
        Ok(self.lock().directory.get(source).map(|entry| entry.secret.clone()))
    }

    async fn mark_target_sent(&self, sent: &[TargetSent]) -> Result<(), ManagementError> {
        let mut tables = self.lock();
        for entry in sent {
            let Some(row) = tables.row(&entry.row) else {
                continue;
            };
            if row.status != RowStatus::Success {
                row.status = RowStatus::Sent;
                row.event_id = Some(entry.event_id.clone());
                row.retry_at_ms = Some(entry.retry_at_ms);
                row.attempts = entry.attempts;
            }
        }
        Ok(())
    }

    async fn mark_target_success(
        &self,
        applied: &[TargetSuccess],
    ) -> Result<Vec<Marked>, ManagementError> {
        let mut tables = self.lock();
        Ok(applied
            .iter()
            .map(|entry| {
                let Some(row) = tables.row(&entry.row) else {
                    return Marked::Stale;
                };
                if row.status != RowStatus::Success {
                    row.status = RowStatus::Success;
                    row.proof = Some(entry.proof);
                    row.retry_at_ms = None;
                    row.reason = None;
                }
                tables.progress(&entry.row)
            })
            .collect())
    }

    async fn mark_target_error(
        &self,
        failed: &[TargetError],
    ) -> Result<Vec<Marked>, ManagementError> {
        let mut tables = self.lock();
        Ok(failed
            .iter()
            .map(|entry| {
                let Some(row) = tables.row(&entry.row) else {
                    return Marked::Stale;
                };
                if row.status != RowStatus::Success {
                    row.status = RowStatus::Error;
                    row.reason = Some(entry.reason.clone());
                    row.retry_at_ms = entry.retry_at_ms;
                }
                tables.progress(&entry.row)
            })
            .collect())
    }

    async fn mark_credential_fully_propagated(
        &self,
        report: FullyPropagated,
    ) -> Result<(), ManagementError> {
        let mut tables = self.lock();
        let credential = tables.credentials.get_mut(&report.key);
        if let Some(credential) = credential.filter(|c| c.revision == report.revision) {
            credential.reported = Some(report.outcome);
            credential.plain_secret = None;
        }
        Ok(())
    }
}

impl RowEntry {
    fn pending(revision: Revision) -> Self {
        Self {
            revision,
            status: RowStatus::Pending,
            event_id: None,
            attempts: 0,
            retry_at_ms: None,
            reason: None,
            proof: None,
        }
    }

    /// Whether a sync has something to do with it, now or later.
    fn is_open(&self) -> bool {
        match self.status {
            RowStatus::Pending | RowStatus::Sent => true,
            RowStatus::Error => self.retry_at_ms.is_some(),
            RowStatus::Success => false,
        }
    }

    fn is_due(&self, now_ms: u64) -> bool {
        self.status == RowStatus::Pending
            || self.is_open() && self.retry_at_ms.is_none_or(|at| at <= now_ms)
    }
}

impl Tables {
    /// The row, where it is at the revision that is spoken of.
    fn row(&mut self, key: &RowKey) -> Option<&mut RowEntry> {
        let row = self.rows.get_mut(&key.key)?.get_mut(&key.target)?;
        (row.revision == key.revision).then_some(row)
    }

    fn progress(&self, key: &RowKey) -> Marked {
        match self.counts(&key.key) {
            (0, succeeded, failed) => Marked::Settled { succeeded, failed },
            _ => Marked::Outstanding,
        }
    }

    /// Open, succeeded and failed rows.
    fn counts(&self, key: &CredentialKey) -> (u64, u64, u64) {
        let rows = self.rows.get(key).into_iter().flat_map(BTreeMap::values);
        rows.fold((0, 0, 0), |(open, succeeded, failed), row| match row.status {
            _ if row.is_open() => (open + 1, succeeded, failed),
            RowStatus::Success => (open, succeeded + 1, failed),
            _ => (open, succeeded, failed + 1),
        })
    }

    /// Refuses a decision that is not newer than what stands there; a repeat passes.
    fn guard(&self, key: &CredentialKey, revision: Revision) -> Result<(), ManagementError> {
        match self.credentials.get(key) {
            Some(entry) if entry.revision > revision => {
                Err(ManagementError::stale_revision(entry.revision))
            }
            _ => Ok(()),
        }
    }

    fn upsert(&mut self, request: UpsertCredential) -> Result<Upserted, ManagementError> {
        let UpsertCredential { key, revision, decision, targets, .. } = request;
        self.guard(&key, revision)?;
        if let Some(unknown) = targets.iter().find(|t| !self.directory.contains_key(t)) {
            return Err(ManagementError::unknown_target(unknown.clone()));
        }
        let old = self.credentials.remove(&key);
        let repeat = old.as_ref().is_some_and(|old| old.revision == revision);
        let existed = old.as_ref().is_some_and(|old| old.secret_hash.is_some());
        let created =
            if repeat { old.as_ref().is_some_and(|old| old.first_revision) } else { !existed };
        let kept = old.filter(|_| existed).map(|old| old.restrictions).unwrap_or_default();
        let entry = match decision {
            Decision::Put { secret_hash, allowed_ips, expires_at, plain_secret } => {
                CredentialEntry {
                    revision,
                    secret_hash: Some(secret_hash),
                    restrictions: StoredRestrictions {
                        allowed_ips: allowed_ips.or(kept.allowed_ips),
                        expires_at: match expires_at {
                            Expiry::Keep => kept.expires_at,
                            Expiry::Never => None,
                            Expiry::At(ms) => Some(ms),
                        },
                    },
                    plain_secret,
                    first_revision: created,
                    reported: None,
                }
            }
            Decision::Delete => CredentialEntry {
                revision,
                secret_hash: None,
                restrictions: StoredRestrictions::default(),
                plain_secret: None,
                first_revision: false,
                reported: None,
            },
        };
        let stored = entry.restrictions.clone();
        self.credentials.insert(key.clone(), entry);
        let targets = self.reopen(&key, revision, targets);
        Ok(Upserted { created, targets, stored })
    }

    fn rotate(&mut self, request: RotateCredential) -> Result<Option<Rotated>, ManagementError> {
        let RotateCredential { key, revision, secret_hash, plain_secret, .. } = request;
        self.guard(&key, revision)?;
        let Some(entry) = self.credentials.get_mut(&key).filter(|e| e.secret_hash.is_some()) else {
            return Ok(None);
        };
        entry.first_revision &= entry.revision == revision;
        entry.revision = revision;
        entry.secret_hash = Some(secret_hash);
        entry.plain_secret = plain_secret;
        entry.reported = None;
        let stored = entry.restrictions.clone();
        let targets = self.reopen(&key, revision, Vec::new());
        Ok(Some(Rotated { targets, stored }))
    }

    /// Adds rows and sets all rows that are not at the revision yet to pending at it.
    fn reopen(&mut self, key: &CredentialKey, revision: Revision, add: Vec<PeerQueue>) -> u64 {
        let rows = self.rows.entry(key.clone()).or_default();
        for target in add {
            rows.entry(target).or_insert_with(|| RowEntry::pending(revision));
        }
        for row in rows.values_mut().filter(|row| row.revision != revision) {
            *row = RowEntry::pending(revision);
        }
        rows.len() as u64
    }

    fn fetch(&self, request: &FetchPending) -> Result<PendingPage, ManagementError> {
        let after = request.after.as_deref().map(position).transpose()?;
        let mut page = PendingPage::default();
        let start = after.clone().map_or(Bound::Unbounded, |(key, _)| Bound::Included(key));
        for (key, credential) in self.credentials.range((start, Bound::Unbounded)) {
            let done = after.as_ref().filter(|(k, _)| k == key).map(|(_, target)| target);
            self.open_work(key, credential, done, request.now_ms, &mut page.entries);
            if page.entries.len() >= request.limit {
                page.entries.truncate(request.limit);
                page.next = page.entries.last().and_then(token);
                break;
            }
        }
        Ok(page)
    }

    /// What is open for one credential, beyond the target that the page before ended with (an empty
    /// name: beyond all).
    fn open_work(
        &self,
        key: &CredentialKey,
        credential: &CredentialEntry,
        done: Option<&String>,
        now_ms: u64,
        entries: &mut Vec<PendingPropagation>,
    ) {
        if done.is_some_and(String::is_empty) {
            return;
        }
        let entry = |work| PendingPropagation {
            track: key.track,
            client_id: key.client_id.as_str().to_owned(),
            revision: credential.revision,
            operation: operation(credential),
            work,
        };
        if let (None, (0, succeeded, failed)) = (credential.reported, self.counts(key)) {
            entries.push(entry(PendingWork::Report { succeeded, failed }));
        }
        let rows = self.rows.get(key).into_iter().flatten();
        let due = rows.filter(|(target, row)| {
            row.is_due(now_ms) && done.is_none_or(|done| target.as_str() > done.as_str())
        });
        for (target, row) in due {
            let peer = self.directory.get(target);
            entries.push(entry(PendingWork::Deliver(PendingTarget {
                queue: target.as_str().to_owned(),
                propagation_secret: peer.map(|peer| peer.secret.clone()),
                receive_only: peer.is_some_and(|peer| peer.receive_only),
                status: row.status,
                event_id: row.event_id.clone(),
                attempts: row.attempts,
            })));
        }
    }
}

fn operation(credential: &CredentialEntry) -> Operation {
    match &credential.secret_hash {
        None => Operation::Delete,
        Some(hash) => Operation::Put {
            create: credential.first_revision,
            secret_hash: hash.expose().to_owned(),
            allowed_ips: credential
                .restrictions
                .allowed_ips
                .as_ref()
                .map(|rules| rules.as_slice().to_vec()),
            expires_at: credential.restrictions.expires_at,
        },
    }
}

/// Where a page ends: the credential, and the target (empty when the entry has none).
fn token(last: &PendingPropagation) -> Option<String> {
    let target = match &last.work {
        PendingWork::Deliver(target) => target.queue.as_str(),
        PendingWork::Report { .. } => "",
    };
    serde_json::to_string(&(last.track, &last.client_id, target)).ok()
}

fn position(token: &str) -> Result<(CredentialKey, String), ManagementError> {
    let (track, client_id, target) = serde_json::from_str(token).map_err(|e| {
        ManagementError::permanent("not a page token of this adapter").with_source(e)
    })?;
    Ok((CredentialKey { track, client_id }, target))
}
