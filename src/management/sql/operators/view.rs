//! Credentials with the state of each of their targets.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::super::db::{Record, Tx, Value};
use super::super::dialect::Column;
use super::super::failure::Failure;
use super::super::pending::rules;
use super::super::rotation::RotationPolicy;
use super::super::row::{outcome, status};
use super::super::{Inner, SqlManagement, key_of, revision_of};
use super::OperatorError;
use crate::id::{CredentialKey, EventId, PeerQueue, Revision};
use crate::management::{Outcome, Proof, RowStatus};
use crate::store::StoreId;

/// A credential. Its hash is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialInfo {
    /// Which.
    pub key: CredentialKey,
    /// Its revision.
    pub revision: Revision,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Its allow-list as stored; `None`: never set.
    pub allowed_ips: Option<Vec<String>>,
    /// When it expires, in milliseconds since the epoch; `None`: never.
    pub expires_at_ms: Option<u64>,
    /// Whether a plain secret is kept.
    pub keeps_plain_secret: bool,
    /// How its revision was reported; `None`: not yet.
    pub reported: Option<Outcome>,
    /// When it was made, in milliseconds since the epoch.
    pub created_at_ms: u64,
    /// When it was last decided about, in milliseconds since the epoch.
    pub updated_at_ms: u64,
    /// When it last got a new secret, in milliseconds since the epoch.
    pub rotated_at_ms: Option<u64>,
    /// How often it is to get a new one.
    pub policy: Option<RotationPolicy>,
    /// When the next one is due, in milliseconds since the epoch.
    pub next_rotation_at_ms: Option<u64>,
    /// Its targets, by name.
    pub targets: Vec<TargetState>,
}

/// Where a target of a credential stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TargetState {
    /// The target.
    pub target: PeerQueue,
    /// The revision that it is to hold.
    pub revision: Revision,
    /// Whether it does.
    pub status: RowStatus,
    /// The event that carries it.
    pub event_id: Option<EventId>,
    /// How often it was sent.
    pub attempts: u64,
    /// When it is tried again, in milliseconds since the epoch; `None` for an error: not at all.
    pub retry_at_ms: Option<u64>,
    /// When it was last sent, in milliseconds since the epoch.
    pub sent_at_ms: Option<u64>,
    /// When it came to its end, in milliseconds since the epoch.
    pub settled_at_ms: Option<u64>,
    /// How the target proved that it holds it.
    pub proof: Option<Proof>,
    /// In which of its stores, as far as it says.
    pub store: Option<StoreId>,
    /// Why it failed last.
    pub last_error: Option<String>,
}

impl SqlManagement {
    /// A credential with its targets; `None`: there never was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn credential(
        &self,
        key: &CredentialKey,
    ) -> Result<Option<CredentialInfo>, OperatorError> {
        let key = key.clone();
        Ok(run!(self, inner, [key], show(&inner, &key))?)
    }

    /// Credentials with their targets, in the order of their keys, from the one after `after` on.
    /// Deleted ones are among them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn credentials(
        &self,
        after: Option<&CredentialKey>,
        limit: u32,
    ) -> Result<Vec<CredentialInfo>, OperatorError> {
        let after = after.cloned();
        Ok(run!(self, inner, [after], list(&inner, Option::as_ref(&after), limit))?)
    }
}

const COLUMNS: &str = "c.track, c.client_id, c.revision, c.operation, c.allowed_ips, c.expires_at, \
     CASE WHEN c.plain_secret IS NULL THEN 'no' ELSE 'yes' END AS keeps_plain, c.outcome, c.created_at, \
     c.updated_at, c.rotated_at, c.rotate_after, c.rotate_jitter, c.next_rotation_at";

async fn show(inner: &Inner, key: &CredentialKey) -> Result<Option<CredentialInfo>, Failure> {
    let mut tx = inner.db.begin_reading().await?;
    let sql = format!(
        "SELECT {COLUMNS} FROM hmac_credentials AS c WHERE c.track = ? AND c.client_id = ?"
    );
    let values = vec![key.track.as_str().into(), key.client_id.as_str().into()];
    let records = tx.fetch(&sql, values).await?;
    Ok(complete(&mut tx, &records).await?.pop())
}

async fn list(
    inner: &Inner,
    after: Option<&CredentialKey>,
    limit: u32,
) -> Result<Vec<CredentialInfo>, Failure> {
    let mut tx = inner.db.begin_reading().await?;
    let dialect = tx.dialect();
    let sql = format!(
        "SELECT {COLUMNS} FROM hmac_credentials AS c WHERE {} ORDER BY c.track, c.client_id LIMIT ?",
        dialect.after(&["c.track", "c.client_id"])
    );
    let after = after.map_or(("", ""), |key| (key.track.as_str(), key.client_id.as_str()));
    let mut values = dialect.after_values(&[after.0, after.1]);
    values.push(Value::from(u64::from(limit)));
    let records = tx.fetch(&sql, values).await?;
    complete(&mut tx, &records).await
}

/// Reads the targets of these credentials.
async fn complete(tx: &mut Tx, records: &[Record]) -> Result<Vec<CredentialInfo>, Failure> {
    let mut found = Vec::with_capacity(records.len());
    for record in records {
        // A name that somebody put there past us is no credential.
        if let Some(key) = key_of(record)? {
            found.push(credential(key, record)?);
        }
    }
    let keys: Vec<_> =
        found.iter().map(|info| json!([info.key.track, info.key.client_id])).collect();
    let places: BTreeMap<_, _> =
        found.iter().enumerate().map(|(place, info)| (info.key.clone(), place)).collect();
    let batch = tx.dialect().batch(&[("track", Column::Name), ("client_id", Column::Name)]);
    let sql = format!(
        "SELECT r.track, r.client_id, r.target, r.revision, r.status, r.event_id, r.attempts, \
             r.retry_at, r.sent_at, r.settled_at, r.proof, r.store_id, r.last_error \
         FROM {batch} AS b CROSS JOIN hmac_credential_targets AS r \
         WHERE r.track = b.track AND r.client_id = b.client_id ORDER BY r.target"
    );
    for record in tx.fetch(&sql, vec![json!(keys).to_string().into()]).await? {
        let (Some(key), Ok(queue)) = (key_of(&record)?, PeerQueue::new(record.text("target")?))
        else {
            continue;
        };
        if let Some(info) = places.get(&key).and_then(|place| found.get_mut(*place)) {
            info.targets.push(target(queue, &record)?);
        }
    }
    Ok(found)
}

fn credential(key: CredentialKey, record: &Record) -> Result<CredentialInfo, Failure> {
    let jitter = Duration::from_millis(record.count("rotate_jitter")?);
    let after = record.time_or_null("rotate_after")?.map(Duration::from_millis);
    let reported = record.text_or_null("outcome")?;
    Ok(CredentialInfo {
        key,
        revision: revision_of(record)?,
        deleted: record.text("operation")? == "delete",
        allowed_ips: record.text_or_null("allowed_ips")?.map(|stored| rules(&stored)),
        expires_at_ms: record.time_or_null("expires_at")?,
        keeps_plain_secret: record.text("keeps_plain")? == "yes",
        reported: reported.as_deref().and_then(outcome),
        created_at_ms: record.count("created_at")?,
        updated_at_ms: record.count("updated_at")?,
        rotated_at_ms: record.time_or_null("rotated_at")?,
        policy: after.map(|after| RotationPolicy::after(after).jitter(jitter)),
        next_rotation_at_ms: record.time_or_null("next_rotation_at")?,
        targets: Vec::new(),
    })
}

fn target(target: PeerQueue, record: &Record) -> Result<TargetState, Failure> {
    Ok(TargetState {
        target,
        revision: revision_of(record)?,
        status: status(&record.text("status")?),
        event_id: record.text_or_null("event_id")?.and_then(|id| EventId::new(id).ok()),
        attempts: record.count("attempts")?,
        retry_at_ms: record.time_or_null("retry_at")?,
        sent_at_ms: record.time_or_null("sent_at")?,
        settled_at_ms: record.time_or_null("settled_at")?,
        proof: record.text_or_null("proof")?.and_then(|word| match word.as_str() {
            "signed" => Some(Proof::Signed),
            "receive_only" => Some(Proof::ReceiveOnly),
            _ => None,
        }),
        store: record.text_or_null("store_id")?.and_then(|id| StoreId::new(id).ok()),
        last_error: record.text_or_null("last_error")?,
    })
}
