//! A management side in memory: for tests, for trying out, and as a model for adapters.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use self::tables::{DirectoryEntry, Tables};
use super::rows::{FetchPending, PendingPage, RowStatus};
use super::{
    CredentialPage, FetchCredentials, FullyPropagated, Management, ManagementError, Marked,
    Outcome, Proof, ReopenRows, Reopened, RotateCredential, Rotated, TargetError, TargetSent,
    TargetSuccess, UpsertCredential, Upserted,
};
use crate::id::{CredentialKey, EventId, PeerQueue, Revision};
use crate::secret::PropagationSecret;
use crate::store::StoreId;

mod tables;
mod upkeep;

/// A management side in memory. Clones share it. Gone when the process ends.
#[derive(Clone, Default)]
pub struct MemoryManagement {
    tables: Arc<Mutex<Tables>>,
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
    /// When it is tried again, in milliseconds since the epoch. An error without it is final.
    pub retry_at_ms: Option<u64>,
    /// Why it failed last.
    pub reason: Option<String>,
    /// How the target proved that it holds it.
    pub proof: Option<Proof>,
    /// The target's store that holds it, as far as the target says.
    pub store: Option<StoreId>,
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
            retry_at_ms: row.retry_at_ms,
            reason: row.reason.clone(),
            proof: row.proof,
            store: row.store.clone(),
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
            if row.is_open() {
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
                    row.note_delivery(entry.answered.as_ref());
                    row.proof = Some(entry.proof);
                    row.retry_at_ms = None;
                    row.reason = None;
                }
                row.store.clone_from(&entry.store);
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
                // What is to be tried again is a delivery's end: it says nothing against an answer.
                let settled = row.status == RowStatus::Success
                    || entry.retry_at_ms.is_some() && !row.is_open();
                if !settled {
                    row.status = RowStatus::Error;
                    row.note_delivery(entry.answered.as_ref());
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
        if tables.is_outstanding(&report.key) {
            return Ok(());
        }
        let credential = tables.credentials.get_mut(&report.key);
        if let Some(credential) = credential.filter(|c| c.revision == report.revision) {
            credential.reported = credential.reported.max(Some(report.outcome));
            credential.plain_secret = None;
        }
        Ok(())
    }

    async fn reopen_rows(&self, request: ReopenRows) -> Result<Reopened, ManagementError> {
        self.lock().reopen_rows(&request)
    }

    async fn fetch_credentials(
        &self,
        request: FetchCredentials,
    ) -> Result<CredentialPage, ManagementError> {
        self.lock().fetch_credentials(&request)
    }

    async fn fetch_peers(&self) -> Result<Vec<PeerQueue>, ManagementError> {
        Ok(self.lock().directory.keys().cloned().collect())
    }
}
