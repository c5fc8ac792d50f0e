//! A credential as it stands in `hmac_credentials`.

use super::db::Tx;
use super::failure::Failure;
use super::pending::rules;
use super::revision_of;
use super::vault::{Place, Vault};
use crate::id::{CredentialKey, Revision};
use crate::management::{Decision, ManagementError, StoredRestrictions};
use crate::secret::SecretHash;
use crate::store::{AllowedIps, Expiry};

pub(super) struct Stored {
    pub(super) revision: Revision,
    /// `create`, `update` or `delete`.
    pub(super) operation: String,
    secret_hash: Option<String>,
    allowed_ips: Option<String>,
    expires_at: Option<u64>,
    pub(super) rotate_after: Option<u64>,
    pub(super) rotate_jitter: u64,
    /// When it last got a new secret; for one that came without that, when it was last changed.
    pub(super) rotated_at: u64,
}

impl Stored {
    /// Reads it and keeps others from deciding about it until the transaction ends.
    pub(super) async fn lock(tx: &mut Tx, key: &CredentialKey) -> Result<Option<Self>, Failure> {
        let sql = format!(
            "SELECT revision, operation, secret_hash, allowed_ips, expires_at, rotate_after, \
                 rotate_jitter, COALESCE(rotated_at, updated_at) AS rotated_at FROM hmac_credentials WHERE track = ? AND client_id = ?{}",
            tx.dialect().for_update()
        );
        let values = vec![key.track.as_str().into(), key.client_id.as_str().into()];
        let Some(record) = tx.fetch_one(&sql, values).await? else { return Ok(None) };
        Ok(Some(Self {
            revision: revision_of(&record)?,
            operation: record.text("operation")?,
            secret_hash: record.text_or_null("secret_hash")?,
            allowed_ips: record.text_or_null("allowed_ips")?,
            expires_at: record.time_or_null("expires_at")?,
            rotate_after: record.time_or_null("rotate_after")?,
            rotate_jitter: record.count("rotate_jitter")?,
            rotated_at: record.count("rotated_at")?,
        }))
    }

    pub(super) fn exists(&self) -> bool {
        self.operation != "delete"
    }

    /// The allow-list and the expiry.
    ///
    /// Read on demand: an allow-list that somebody stored past us, and that is none, must not stand
    /// in the way of a decision that replaces it or deletes the credential.
    pub(super) fn restrictions(&self) -> Result<StoredRestrictions, ManagementError> {
        let allowed_ips = self.allowed_ips.as_deref();
        let allowed_ips = allowed_ips.map(|stored| AllowedIps::parse(&rules(stored))).transpose();
        let unreadable = |e| {
            let message = "the stored allow-list is not one: decide with a new one, or delete";
            ManagementError::permanent(message).with_source(e)
        };
        Ok(StoredRestrictions {
            allowed_ips: allowed_ips.map_err(unreadable)?,
            expires_at: self.expires_at,
        })
    }

    /// When it expires, in milliseconds since the epoch.
    pub(super) fn expires_at(&self) -> Option<u64> {
        self.expires_at
    }

    /// Whether a decision under the same revision is this one again.
    pub(super) async fn is_repeat(
        &self,
        tx: &mut Tx,
        vault: &Vault,
        key: &CredentialKey,
        decision: &Decision,
    ) -> Result<bool, Failure> {
        let Decision::Put { secret_hash, allowed_ips, expires_at, .. } = decision else {
            return Ok(!self.exists());
        };
        let same_expiry = match expires_at {
            Expiry::Keep => true,
            Expiry::Never => self.expires_at.is_none(),
            Expiry::At(ms) => self.expires_at == Some(*ms),
        };
        let same_rules = match allowed_ips {
            None => true,
            named => *named == self.restrictions()?.allowed_ips,
        };
        Ok(same_expiry && same_rules && self.has_hash(tx, vault, key, secret_hash).await?)
    }

    pub(super) async fn has_hash(
        &self,
        tx: &mut Tx,
        vault: &Vault,
        key: &CredentialKey,
        hash: &SecretHash,
    ) -> Result<bool, Failure> {
        let Some(sealed) = &self.secret_hash else { return Ok(false) };
        vault.prepare(tx, std::iter::once(sealed.as_str())).await?;
        let opened = vault.open(Place::Hash(key, self.revision), sealed)?;
        Ok(SecretHash::parse(&opened).is_ok_and(|stored| stored == *hash))
    }
}
