//! Failed targets: try again, or give up.

use super::super::audit::{self, AuditAction, Note};
use super::super::db::{Tx, Value};
use super::super::failure::Failure;
use super::super::stored::Stored;
use super::super::{Inner, SqlManagement};
use super::OperatorError;
use crate::id::{CredentialKey, PeerQueue};

impl SqlManagement {
    /// Opens a row that has failed, for good or until later: the next sync sends it. The credential
    /// is reported again when it settles.
    ///
    /// # Errors
    /// `NoSuchRow`, `NotFailed`, or when the database fails.
    pub async fn retry_target(
        &self,
        key: &CredentialKey,
        target: &PeerQueue,
    ) -> Result<(), OperatorError> {
        let key = key.clone();
        let target = target.clone();
        Ok(run!(self, inner, [key, target], retry(&inner, &key, &target))?)
    }

    /// Gives up a target of a credential: the row goes, whatever its state. For peers that are gone
    /// for good; one that lives keeps what it holds, so revoke first.
    ///
    /// # Errors
    /// `NoSuchRow`, or when the database fails.
    pub async fn detach_target(
        &self,
        key: &CredentialKey,
        target: &PeerQueue,
    ) -> Result<(), OperatorError> {
        let key = key.clone();
        let target = target.clone();
        Ok(run!(self, inner, [key, target], detach(&inner, &key, &target))?)
    }
}

async fn retry(inner: &Inner, key: &CredentialKey, target: &PeerQueue) -> Result<(), Failure> {
    let mut tx = inner.db.begin().await?;
    let (stored, status) = find(&mut tx, key, target).await?;
    if status != "error" {
        let (key, target) = (key.clone(), target.clone());
        return Err(OperatorError::NotFailed { key, target }.into());
    }
    let sql = "UPDATE hmac_credential_targets SET status = 'pending', is_open = 1, retry_at = NULL, \
         settled_at = NULL, claimed_by = NULL, claimed_until = NULL \
         WHERE track = ? AND client_id = ? AND target = ?";
    tx.execute(sql, names(key, target)).await?;
    let sql = "UPDATE hmac_credentials SET unreported = 1, outcome = NULL, reported_at = NULL \
         WHERE track = ? AND client_id = ?";
    tx.execute(sql, vec![key.track.as_str().into(), key.client_id.as_str().into()]).await?;
    finish(tx, inner, AuditAction::TargetRetried, &stored, key, target).await
}

async fn detach(inner: &Inner, key: &CredentialKey, target: &PeerQueue) -> Result<(), Failure> {
    let mut tx = inner.db.begin().await?;
    let (stored, _) = find(&mut tx, key, target).await?;
    let sql =
        "DELETE FROM hmac_credential_targets WHERE track = ? AND client_id = ? AND target = ?";
    tx.execute(sql, names(key, target)).await?;
    finish(tx, inner, AuditAction::TargetDetached, &stored, key, target).await
}

/// The credential, locked, and the row's status.
async fn find(
    tx: &mut Tx,
    key: &CredentialKey,
    target: &PeerQueue,
) -> Result<(Stored, String), Failure> {
    let missing = || OperatorError::NoSuchRow { key: key.clone(), target: target.clone() };
    let stored = Stored::lock(tx, key).await?.ok_or_else(missing)?;
    let sql = "SELECT status FROM hmac_credential_targets \
         WHERE track = ? AND client_id = ? AND target = ?";
    let record = tx.fetch_one(sql, names(key, target)).await?.ok_or_else(missing)?;
    Ok((stored, record.text("status")?))
}

fn names(key: &CredentialKey, target: &PeerQueue) -> Vec<Value> {
    vec![key.track.as_str().into(), key.client_id.as_str().into(), target.as_str().into()]
}

async fn finish(
    mut tx: Tx,
    inner: &Inner,
    action: AuditAction,
    stored: &Stored,
    key: &CredentialKey,
    target: &PeerQueue,
) -> Result<(), Failure> {
    let note = Note {
        target: Some(target.as_str().to_owned()),
        revision: Some(stored.revision.get()),
        ..Note::of(inner.clock.now_ms(), action, key)
    };
    audit::append(&mut tx, &inner.actor, vec![note]).await?;
    tx.commit().await
}
