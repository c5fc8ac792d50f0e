//! What happened, append only: written in the transaction that does it, each entry chained by hash
//! to the one before.

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::db::{Record, Tx, clamp};
use super::dialect::Column;
use super::failure::Failure;
use crate::id::{CredentialKey, Track};
use crate::management::ManagementError;

mod query;
mod verify;

pub use query::AuditQuery;
pub(super) use query::{count, query};
pub use verify::{AuditCheck, AuditHead};
pub(super) use verify::{head, verify};

/// What was done. The first seven are those of the reference schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditAction {
    /// A credential was created or replaced.
    Ensure,
    /// A credential got a new secret.
    Rotate,
    /// A credential was deleted.
    Revoke,
    /// An event went to a target.
    TargetSent,
    /// A target proved that it holds a revision.
    TargetSuccess,
    /// A delivery failed, for now or for good.
    TargetError,
    /// No target of a revision is outstanding.
    FullyPropagated,
    /// A peer came into the directory.
    TargetAdded,
    /// A peer's secret or kind was changed.
    TargetChanged,
    /// A peer left the directory.
    TargetDropped,
    /// A credential's row for a target was given up.
    TargetDetached,
    /// A failed row was opened again.
    TargetRetried,
    /// A row is asked for again: its target may have another store than the one that proved it, or an
    /// operator wants it.
    TargetReopened,
    /// A credential's rotation policy was set or cleared.
    PolicySet,
    /// Stored secrets came under another key.
    Reencrypted,
}

/// An entry of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// What.
    pub action: String,
    /// Who.
    pub actor: String,
    /// The track, where a credential is concerned.
    pub track: Option<String>,
    /// The client, where a credential is concerned.
    pub client_id: Option<String>,
    /// The target, where one is concerned.
    pub target: Option<String>,
    /// The credential's revision.
    pub revision: Option<u64>,
    /// The event that went out.
    pub event_id: Option<String>,
    /// More, in words.
    pub detail: Option<String>,
    /// The hash of the entry before; empty for the first.
    pub previous_hash: String,
    /// Its own: SHA-256 over all of the above.
    pub hash: String,
}

/// An entry that is to be written.
pub(super) struct Note {
    pub(super) at_ms: u64,
    pub(super) action: AuditAction,
    pub(super) credential: Option<(Track, String)>,
    pub(super) target: Option<String>,
    pub(super) revision: Option<u64>,
    pub(super) event_id: Option<String>,
    pub(super) detail: Option<String>,
}

const COLUMNS: [(&str, Column); 12] = [
    ("seq", Column::Int),
    ("at", Column::Int),
    ("action", Column::Name),
    ("actor", Column::Name),
    ("track", Column::Name),
    ("client_id", Column::Name),
    ("target", Column::Name),
    ("revision", Column::Int),
    ("event_id", Column::Name),
    ("detail", Column::Text),
    ("previous_hash", Column::Name),
    ("hash", Column::Name),
];

/// Writes entries at the end of the chain. Call it last: from here to the commit, other
/// transactions wait for the end of the chain.
pub(super) async fn append(tx: &mut Tx, actor: &str, notes: Vec<Note>) -> Result<(), Failure> {
    if notes.is_empty() {
        return Ok(());
    }
    let AuditHead { mut seq, mut hash } = head(tx, true).await?;
    let mut rows = Vec::with_capacity(notes.len());
    for note in notes {
        seq += 1;
        let entry = note.into_entry(seq, actor, hash);
        rows.push(entry.row());
        hash = entry.hash;
    }
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    let batch = tx.dialect().batch(&COLUMNS);
    let insert =
        format!("INSERT INTO hmac_propagation_audit ({names}) SELECT {names} FROM {batch} AS b");
    tx.execute(&insert, vec![Json::Array(rows).to_string().into()]).await?;
    let moved = "UPDATE hmac_propagation_audit_head SET seq = ?, hash = ? WHERE id = 1";
    tx.execute(moved, vec![seq.into(), hash.into()]).await?;
    Ok(())
}

impl Note {
    pub(super) fn new(at_ms: u64, action: AuditAction) -> Self {
        Self {
            at_ms,
            action,
            credential: None,
            target: None,
            revision: None,
            event_id: None,
            detail: None,
        }
    }

    pub(super) fn of(at_ms: u64, action: AuditAction, key: &CredentialKey) -> Self {
        let credential = Some((key.track, key.client_id.as_str().to_owned()));
        Self { credential, ..Self::new(at_ms, action) }
    }

    fn into_entry(self, seq: u64, actor: &str, previous_hash: String) -> AuditEntry {
        let (track, client_id) = self.credential.unzip();
        let mut entry = AuditEntry {
            seq,
            at_ms: self.at_ms,
            action: self.action.as_str().to_owned(),
            actor: actor.to_owned(),
            track: track.map(|track| track.as_str().to_owned()),
            client_id,
            target: self.target,
            revision: self.revision,
            event_id: self.event_id,
            detail: self.detail,
            previous_hash,
            hash: String::new(),
        };
        entry.hash = entry.digest();
        entry
    }
}

impl AuditEntry {
    /// The hash over all other fields. A JSON array has one reading only, whatever is in the texts.
    fn digest(&self) -> String {
        let Json::Array(mut fields) = self.row() else { return String::new() };
        fields.pop();
        super::cipher::to_hex(&Sha256::digest(Json::Array(fields).to_string()))
    }

    /// In the order of the columns.
    fn row(&self) -> Json {
        json!([
            self.seq,
            clamp(self.at_ms),
            self.action,
            self.actor,
            self.track,
            self.client_id,
            self.target,
            self.revision,
            self.event_id,
            self.detail,
            self.previous_hash,
            self.hash,
        ])
    }

    fn read(record: &Record) -> Result<Self, Failure> {
        Ok(Self {
            seq: unsigned(record.int("seq")?)?,
            at_ms: unsigned(record.int("at")?)?,
            action: record.text("action")?,
            actor: record.text("actor")?,
            track: record.text_or_null("track")?,
            client_id: record.text_or_null("client_id")?,
            target: record.text_or_null("target")?,
            revision: record.int_or_null("revision")?.map(unsigned).transpose()?,
            event_id: record.text_or_null("event_id")?,
            detail: record.text_or_null("detail")?,
            previous_hash: record.text("previous_hash")?,
            hash: record.text("hash")?,
        })
    }
}

impl AuditAction {
    /// The word that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ensure => "ensure",
            Self::Rotate => "rotate",
            Self::Revoke => "revoke",
            Self::TargetSent => "target_sent",
            Self::TargetSuccess => "target_success",
            Self::TargetError => "target_error",
            Self::FullyPropagated => "fully_propagated",
            Self::TargetAdded => "target_added",
            Self::TargetChanged => "target_changed",
            Self::TargetDropped => "target_dropped",
            Self::TargetDetached => "target_detached",
            Self::TargetRetried => "target_retried",
            Self::TargetReopened => "target_reopened",
            Self::PolicySet => "policy_set",
            Self::Reencrypted => "reencrypted",
        }
    }
}

/// A number that was turned negative is another one, also for the hash.
fn unsigned(number: i64) -> Result<u64, Failure> {
    let wrong =
        |e| ManagementError::permanent("an audit entry has a negative number").with_source(e);
    Ok(u64::try_from(number).map_err(wrong)?)
}

fn missing_head() -> Failure {
    ManagementError::permanent("the audit has no head: the tables are damaged").into()
}
