//! The tables of the management side in memory, and what every adapter's SQL has to come to.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::super::rows::{
    FetchPending, Operation, PendingPage, PendingPropagation, PendingTarget, PendingWork, RowStatus,
};
use super::super::{
    Answered, Decision, ManagementError, Marked, Outcome, Proof, RotateCredential, Rotated, RowKey,
    StoredRestrictions, UpsertCredential, Upserted,
};
use crate::id::{CredentialKey, EventId, PeerQueue, Revision};
use crate::secret::{ClientSecret, PropagationSecret, SecretHash};
use crate::store::{AllowedIps, Expiry, StoreId};

#[derive(Default)]
pub(super) struct Tables {
    pub(super) directory: BTreeMap<PeerQueue, DirectoryEntry>,
    pub(super) credentials: BTreeMap<CredentialKey, CredentialEntry>,
    pub(super) rows: BTreeMap<CredentialKey, BTreeMap<PeerQueue, RowEntry>>,
}

pub(super) struct DirectoryEntry {
    pub(super) secret: PropagationSecret,
    pub(super) receive_only: bool,
}

pub(super) struct CredentialEntry {
    pub(super) revision: Revision,
    /// `None`: deleted.
    pub(super) secret_hash: Option<SecretHash>,
    pub(super) restrictions: StoredRestrictions,
    pub(super) plain_secret: Option<ClientSecret>,
    pub(super) first_revision: bool,
    pub(super) reported: Option<Outcome>,
}

#[derive(Clone)]
pub(super) struct RowEntry {
    pub(super) revision: Revision,
    pub(super) status: RowStatus,
    pub(super) event_id: Option<EventId>,
    pub(super) attempts: u32,
    pub(super) retry_at_ms: Option<u64>,
    pub(super) reason: Option<String>,
    pub(super) proof: Option<Proof>,
    pub(super) store: Option<StoreId>,
}

impl CredentialEntry {
    /// Whether its last revision was this decision.
    fn is_of(&self, decision: &Decision) -> bool {
        let Decision::Put { secret_hash, allowed_ips, expires_at, .. } = decision else {
            return self.secret_hash.is_none();
        };
        let StoredRestrictions { allowed_ips: rules, expires_at: expiry } = &self.restrictions;
        let same_expiry = match expires_at {
            Expiry::Keep => true,
            Expiry::Never => expiry.is_none(),
            Expiry::At(ms) => *expiry == Some(*ms),
        };
        let same_rules = allowed_ips.is_none() || allowed_ips == rules;
        same_expiry && same_rules && self.secret_hash.as_ref() == Some(secret_hash)
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
            store: None,
        }
    }

    /// An answer that came before its event was recorded as sent brings that with it.
    pub(super) fn note_delivery(&mut self, answered: Option<&Answered>) {
        if let (None, Some(answered)) = (&self.event_id, answered) {
            self.event_id = Some(answered.event_id.clone());
            self.attempts = answered.attempts;
        }
    }

    /// Whether a sync has something to do with it, now or later.
    pub(super) fn is_open(&self) -> bool {
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
    pub(super) fn row(&mut self, key: &RowKey) -> Option<&mut RowEntry> {
        let row = self.rows.get_mut(&key.key)?.get_mut(&key.target)?;
        (row.revision == key.revision).then_some(row)
    }

    pub(super) fn progress(&self, key: &RowKey) -> Marked {
        match self.counts(&key.key) {
            (0, succeeded, failed) => Marked::Settled { succeeded, failed },
            _ => Marked::Outstanding,
        }
    }

    pub(super) fn is_outstanding(&self, key: &CredentialKey) -> bool {
        self.counts(key).0 > 0
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

    /// Refuses a decision that is not newer than what stands there; answers whether it is that same
    /// decision once more (`same`), whose record is to stay as it is.
    fn is_repeat(
        &self,
        key: &CredentialKey,
        revision: Revision,
        same: impl Fn(&CredentialEntry) -> bool,
    ) -> Result<bool, ManagementError> {
        match self.credentials.get(key) {
            Some(entry) if entry.revision == revision && same(entry) => Ok(true),
            Some(entry) if entry.revision >= revision => {
                Err(ManagementError::stale_revision(entry.revision))
            }
            _ => Ok(false),
        }
    }

    pub(super) fn upsert(
        &mut self,
        request: UpsertCredential,
    ) -> Result<Upserted, ManagementError> {
        let UpsertCredential { key, revision, decision, targets, .. } = request;
        let repeat = self.is_repeat(&key, revision, |entry| entry.is_of(&decision))?;
        if let Some(unknown) = targets.iter().find(|t| !self.directory.contains_key(t)) {
            return Err(ManagementError::unknown_target(unknown.clone()));
        }
        if let Some(entry) = self.credentials.get(&key).filter(|_| repeat) {
            let (created, stored) = (entry.first_revision, entry.restrictions.clone());
            let targets = self.reopen(&key, revision, targets);
            return Ok(Upserted { created, targets, stored });
        }
        let old = self.credentials.remove(&key);
        let created = old.as_ref().is_none_or(|old| old.secret_hash.is_none());
        let kept = match old {
            Some(old) if !created => old.restrictions,
            // Targets may hold the allow-list of the deleted credential: they are told of none.
            Some(_) => {
                StoredRestrictions { allowed_ips: Some(AllowedIps::default()), expires_at: None }
            }
            None => StoredRestrictions::default(),
        };
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

    pub(super) fn rotate(
        &mut self,
        request: RotateCredential,
    ) -> Result<Option<Rotated>, ManagementError> {
        let RotateCredential { key, revision, secret_hash, plain_secret, .. } = request;
        let same = |entry: &CredentialEntry| entry.secret_hash.as_ref() == Some(&secret_hash);
        let repeat = self.is_repeat(&key, revision, same)?;
        let Some(entry) = self.credentials.get_mut(&key).filter(|e| e.secret_hash.is_some()) else {
            return Ok(None);
        };
        if !repeat {
            entry.first_revision = false;
            entry.revision = revision;
            entry.secret_hash = Some(secret_hash);
            entry.plain_secret = plain_secret;
            entry.reported = None;
        }
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

    pub(super) fn fetch(&self, request: &FetchPending) -> Result<PendingPage, ManagementError> {
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

pub(super) fn operation(credential: &CredentialEntry) -> Operation {
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
