//! Which credentials are to get a new secret.

use std::time::Duration;

use super::super::audit::{self, AuditAction, Note};
use super::super::db::{Value, clamp};
use super::super::failure::Failure;
use super::super::rotation::{self, RotationPolicy};
use super::super::stored::Stored;
use super::super::{Inner, SqlManagement, key_of};
use super::OperatorError;
use crate::id::CredentialKey;

/// A credential that is to get a new secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DueRotation {
    /// Which.
    pub key: CredentialKey,
    /// When it last got one, in milliseconds since the epoch.
    pub rotated_at_ms: u64,
    /// When the next one was due, in milliseconds since the epoch.
    pub due_at_ms: u64,
    /// How long it has been due.
    pub overdue: Duration,
}

impl SqlManagement {
    /// Sets how often a credential is to get a new secret; `None`: not by itself. Rotations keep
    /// it, and so does a deletion, for a credential that is made anew under the name.
    ///
    /// # Errors
    /// `UnknownCredential`, or when the database fails.
    pub async fn set_rotation_policy(
        &self,
        key: &CredentialKey,
        policy: Option<RotationPolicy>,
    ) -> Result<(), OperatorError> {
        let key = key.clone();
        Ok(run!(self, inner, [key], set(&inner, &key, policy))?)
    }

    /// Credentials whose rotation is due at a time (milliseconds since the epoch), those that have
    /// waited longest first. Rotate them with
    /// [`Propagator::rotate`](crate::propagator::Propagator::rotate): the policy starts anew.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_rotations(
        &self,
        now_ms: u64,
        limit: u32,
    ) -> Result<Vec<DueRotation>, OperatorError> {
        self.overdue_rotations(now_ms, Duration::ZERO, limit).await
    }

    /// As [`SqlManagement::due_rotations`], those alone that have been due for at least this long:
    /// for an alert.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn overdue_rotations(
        &self,
        now_ms: u64,
        by: Duration,
        limit: u32,
    ) -> Result<Vec<DueRotation>, OperatorError> {
        Ok(run!(self, inner, [], due(&inner, now_ms, by, limit))?)
    }
}

async fn set(
    inner: &Inner,
    key: &CredentialKey,
    policy: Option<RotationPolicy>,
) -> Result<(), Failure> {
    let mut tx = inner.db.begin().await?;
    let stored = Stored::lock(&mut tx, key).await?.filter(Stored::exists);
    let stored = stored.ok_or_else(|| OperatorError::UnknownCredential(key.clone()))?;
    let after = policy.map(|policy| ms(policy.after).max(1));
    let jitter = policy.map_or(0, |policy| ms(policy.jitter));
    let next = after.and_then(|after| rotation::next(stored.rotated_at, after, jitter));
    let sql = "UPDATE hmac_credentials SET rotate_after = ?, rotate_jitter = ?, \
         next_rotation_at = ? WHERE track = ? AND client_id = ?";
    let values: Vec<Value> = vec![
        after.into(),
        jitter.into(),
        next.into(),
        key.track.as_str().into(),
        key.client_id.as_str().into(),
    ];
    tx.execute(sql, values).await?;
    let note = Note {
        revision: Some(stored.revision.get()),
        detail: Some(after.map_or_else(|| "none".to_owned(), |ms| format!("after {ms} ms"))),
        ..Note::of(inner.clock.now_ms(), AuditAction::PolicySet, key)
    };
    audit::append(&mut tx, &inner.actor, vec![note]).await?;
    tx.commit().await
}

async fn due(
    inner: &Inner,
    now_ms: u64,
    by: Duration,
    limit: u32,
) -> Result<Vec<DueRotation>, Failure> {
    let mut tx = inner.db.begin_reading().await?;
    let sql = "SELECT track, client_id, rotated_at, next_rotation_at FROM hmac_credentials \
         WHERE next_rotation_at <= ? ORDER BY next_rotation_at, track, client_id LIMIT ?";
    let latest = now_ms.saturating_sub(ms(by));
    let records = tx.fetch(sql, vec![latest.into(), u64::from(limit).into()]).await?;
    let mut found = Vec::with_capacity(records.len());
    for record in records {
        let due_at_ms = record.count("next_rotation_at")?;
        if let Some(key) = key_of(&record)? {
            found.push(DueRotation {
                key,
                rotated_at_ms: record.time_or_null("rotated_at")?.unwrap_or_default(),
                due_at_ms,
                overdue: Duration::from_millis(now_ms.saturating_sub(due_at_ms)),
            });
        }
    }
    Ok(found)
}

/// As a column holds it.
fn ms(duration: Duration) -> u64 {
    clamp(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).unsigned_abs()
}
