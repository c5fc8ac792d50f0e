//! What a change makes of a record. Pure.

use crate::id::ClientId;
use crate::secret::SecretHash;
use crate::state::{Decided, StateStore, Write};
use crate::store::{AllowedIps, Change, Credential, Expiry, KeyedCredentialStore};

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) enum Decision {
    Create { secret_hash: SecretHash, allowed_ips: AllowedIps, expires_at: Option<u64> },
    Delete,
    SetHash(SecretHash),
    SetAllowedIps(AllowedIps),
    SetExpiry(Expiry),
    Revert,
}

/// What comes of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// This stands there now.
    Done(Option<Box<Credential>>),
    NotFound,
    Exists,
    NoBackup,
    /// There is a record, and no usable hash in it. Changing it would drop restrictions that cannot
    /// be read, so only removing it is possible.
    Unusable,
}

impl Decision {
    /// Decides against the record and the backup as they were read.
    pub(super) fn against<S: StateStore>(
        &self,
        store: &KeyedCredentialStore<S>,
        client_id: &ClientId,
        read: &[Option<String>],
        now_ms: u64,
    ) -> Decided<Outcome> {
        let [record, backup] = read else {
            return (Outcome::NotFound, Vec::new());
        };
        match self.after(record.as_deref(), backup.as_deref(), now_ms) {
            Err(outcome) => (outcome, Vec::new()),
            Ok(None) => {
                let keys = [store.record_key(client_id), store.backup_key(client_id)];
                (Outcome::Done(None), keys.map(Write::remove).into())
            }
            Ok(Some(new)) => {
                let old = record.as_deref().and_then(Credential::from_stored);
                let writes = store.put(client_id, old.as_ref(), &new);
                (Outcome::Done(Some(Box::new(new))), writes)
            }
        }
    }

    fn after(
        &self,
        record: Option<&str>,
        backup: Option<&str>,
        now_ms: u64,
    ) -> Result<Option<Credential>, Outcome> {
        if let Self::Create { secret_hash, allowed_ips, expires_at } = self {
            let expires_at = expires_at.map_or(Expiry::Never, Expiry::At);
            let change = put(secret_hash, Some(allowed_ips), expires_at);
            let free = record.is_none().then(|| Credential::after(None, &change, now_ms));
            return free.ok_or(Outcome::Exists);
        }
        let record = record.ok_or(Outcome::NotFound)?;
        if matches!(self, Self::Delete) {
            return Ok(None);
        }
        let old = Credential::from_stored(record).ok_or(Outcome::Unusable)?;
        let same = &old.secret_hash;
        let change = match self {
            Self::SetHash(hash) => put(hash, None, Expiry::Keep),
            Self::SetAllowedIps(rules) => put(same, Some(rules), Expiry::Keep),
            Self::SetExpiry(expiry) => put(same, None, *expiry),
            Self::Revert => {
                let hash = backup.and_then(|text| SecretHash::parse(text).ok());
                put(&hash.ok_or(Outcome::NoBackup)?, None, Expiry::Keep)
            }
            Self::Create { .. } | Self::Delete => return Ok(None),
        };
        Ok(Credential::after(Some(&old), &change, now_ms))
    }
}

fn put(hash: &SecretHash, allowed_ips: Option<&AllowedIps>, expires_at: Expiry) -> Change {
    Change::Put { secret_hash: hash.clone(), allowed_ips: allowed_ips.cloned(), expires_at }
}
