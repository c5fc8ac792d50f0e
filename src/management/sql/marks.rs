//! The three callbacks that change rows by their revision, many rows at once.
//!
//! Each locks the credentials concerned, reads their rows, works out what changes (`row.rs`), and
//! writes it in one statement. Two workers that settle the last two rows of a credential at once
//! therefore do so one after the other, and the second one sees the first one's row.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::audit::{self, AuditAction, Note};
use super::db::Tx;
use super::dialect::{Column, Dialect};
use super::failure::Failure;
use super::row::{READ, Row, WRITTEN};
use super::{Inner, key_of};
use crate::id::{CredentialKey, PeerQueue};
use crate::management::{Marked, RowKey, RowStatus, TargetError, TargetSent, TargetSuccess};

/// The key of a row, as columns of a batch.
pub(super) const KEY: [(&str, Column); 3] =
    [("track", Column::Name), ("client_id", Column::Name), ("target", Column::Name)];

/// Where `t` is the row that `b` names.
pub(super) const SAME_ROW: &str =
    "t.track = b.track AND t.client_id = b.client_id AND t.target = b.target";

/// An entry of one of the three callbacks.
#[derive(Clone, Debug)]
pub(super) enum Mark {
    Sent(TargetSent),
    Success(TargetSuccess),
    Error(TargetError),
}

/// Applies marks in their order; one answer each.
pub(super) async fn apply(inner: &Inner, marks: &[Mark]) -> Result<Vec<Marked>, Failure> {
    if marks.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = inner.db.begin_repeatable().await?;
    let mut book = Book::read(&mut tx, marks).await?;
    let (mut answers, mut notes) = (Vec::with_capacity(marks.len()), Vec::new());
    for mark in marks {
        let (answer, note) = book.apply(&inner.worker, mark);
        answers.push(answer);
        notes.extend(note);
    }
    book.write(&mut tx).await?;
    audit::append(&mut tx, &inner.actor, notes).await?;
    tx.commit().await?;
    Ok(answers)
}

type Name = (CredentialKey, PeerQueue);

#[derive(Clone, Copy, Default)]
struct Counts {
    open: u64,
    succeeded: u64,
    failed: u64,
}

/// The rows that are spoken of, and how many of their credentials' rows are in which state.
struct Book {
    rows: BTreeMap<Name, (Row, bool)>,
    counts: BTreeMap<CredentialKey, Counts>,
}

impl Book {
    async fn read(tx: &mut Tx, marks: &[Mark]) -> Result<Self, Failure> {
        let mut named: Vec<&RowKey> = marks.iter().map(|mark| mark.row()).collect();
        // In one order everywhere, so that two workers do not wait for each other in a circle.
        named.sort_by(|a, b| (&a.key, &a.target).cmp(&(&b.key, &b.target)));
        named.dedup_by(|a, b| (&a.key, &a.target) == (&b.key, &b.target));
        let rows = json!(
            named
                .iter()
                .map(|row| json!([row.key.track, row.key.client_id, row.target]))
                .collect::<Vec<_>>()
        );
        named.dedup_by(|a, b| a.key == b.key);
        let credentials = json!(
            named.iter().map(|row| json!([row.key.track, row.key.client_id])).collect::<Vec<_>>()
        );
        lock(tx, &credentials).await?;
        Ok(Self { rows: read_rows(tx, &rows).await?, counts: count(tx, &credentials).await? })
    }

    fn apply(&mut self, worker: &str, mark: &Mark) -> (Marked, Option<Note>) {
        let RowKey { key, target, revision } = mark.row();
        let Some((row, changed)) = self.rows.get_mut(&(key.clone(), target.clone())) else {
            return (Marked::Stale, None);
        };
        if row.revision != revision.get() {
            return (Marked::Stale, None);
        }
        let before = row.clone();
        match mark {
            Mark::Sent(entry) => row.sent(worker, entry),
            Mark::Success(entry) => row.succeeded(entry),
            Mark::Error(entry) => row.failed(worker, entry),
        }
        *changed |= *row != before;
        let counts = self.counts.entry(key.clone()).or_default();
        counts.forget(&before);
        counts.add(row);
        (counts.answer(), mark.note(&before, row))
    }

    /// Writes the rows that changed.
    async fn write(&self, tx: &mut Tx) -> Result<(), Failure> {
        let changed = self.rows.iter().filter(|(_, (_, changed))| *changed);
        let rows: Vec<Json> = changed
            .map(|((key, target), (row, _))| {
                let mut columns = vec![json!(key.track), json!(key.client_id), json!(target)];
                columns.extend(row.written());
                Json::Array(columns)
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let batch = tx.dialect().batch(&[KEY.as_slice(), &WRITTEN].concat());
        let values = WRITTEN.map(|(column, _)| (column, format!("b.{column}")));
        let set = values.each_ref().map(|(column, value)| (*column, value.as_str()));
        let update = tx.dialect().update_from("hmac_credential_targets", &batch, &set, SAME_ROW);
        tx.execute(&update, vec![Json::Array(rows).to_string().into()]).await?;
        Ok(())
    }
}

/// Nobody else decides about these credentials or settles their rows until the transaction ends.
pub(super) async fn lock(tx: &mut Tx, credentials: &Json) -> Result<(), Failure> {
    let batch = tx.dialect().batch(&KEY[..2]);
    let lock = match tx.dialect() {
        // Its transaction has the database to itself.
        Dialect::Sqlite => return Ok(()),
        // A batch has no rows to lock.
        Dialect::Postgres => " FOR UPDATE OF c",
        Dialect::Mysql => " FOR UPDATE",
    };
    let sql = format!(
        "SELECT c.revision FROM {batch} AS b CROSS JOIN hmac_credentials AS c \
         WHERE c.track = b.track AND c.client_id = b.client_id ORDER BY c.track, c.client_id{lock}"
    );
    tx.fetch(&sql, vec![credentials.to_string().into()]).await.map(drop)
}

async fn read_rows(tx: &mut Tx, named: &Json) -> Result<BTreeMap<Name, (Row, bool)>, Failure> {
    let batch = tx.dialect().batch(&KEY);
    let sql = format!(
        "SELECT r.track, r.client_id, r.target, {READ} \
         FROM {batch} AS b CROSS JOIN hmac_credential_targets AS r \
         WHERE r.track = b.track AND r.client_id = b.client_id AND r.target = b.target"
    );
    let mut rows = BTreeMap::new();
    for record in tx.fetch(&sql, vec![named.to_string().into()]).await? {
        // Only rows that were asked for, so their names are well formed.
        let (Some(key), Ok(target)) = (key_of(&record)?, PeerQueue::new(record.text("target")?))
        else {
            continue;
        };
        rows.insert((key, target), (Row::read(&record)?, false));
    }
    Ok(rows)
}

async fn count(
    tx: &mut Tx,
    credentials: &Json,
) -> Result<BTreeMap<CredentialKey, Counts>, Failure> {
    let batch = tx.dialect().batch(&KEY[..2]);
    let sql = format!(
        "SELECT r.track, r.client_id, \
             COUNT(CASE WHEN r.is_open = 1 THEN 1 END) AS outstanding, \
             COUNT(CASE WHEN r.status = 'success' THEN 1 END) AS succeeded, \
             COUNT(CASE WHEN r.is_open = 0 AND r.status = 'error' THEN 1 END) AS failed \
         FROM {batch} AS b CROSS JOIN hmac_credential_targets AS r \
         WHERE r.track = b.track AND r.client_id = b.client_id GROUP BY r.track, r.client_id"
    );
    let mut counts = BTreeMap::new();
    for record in tx.fetch(&sql, vec![credentials.to_string().into()]).await? {
        if let Some(key) = key_of(&record)? {
            let (open, succeeded) = (record.count("outstanding")?, record.count("succeeded")?);
            counts.insert(key, Counts { open, succeeded, failed: record.count("failed")? });
        }
    }
    Ok(counts)
}

impl Counts {
    fn of(&mut self, row: &Row) -> &mut u64 {
        match row.status {
            _ if row.is_open() => &mut self.open,
            RowStatus::Success => &mut self.succeeded,
            _ => &mut self.failed,
        }
    }

    fn add(&mut self, row: &Row) {
        *self.of(row) += 1;
    }

    fn forget(&mut self, row: &Row) {
        let count = self.of(row);
        *count = count.saturating_sub(1);
    }

    fn answer(self) -> Marked {
        match self {
            Self { open: 0, succeeded, failed } => Marked::Settled { succeeded, failed },
            _ => Marked::Outstanding,
        }
    }
}

impl Mark {
    fn row(&self) -> &RowKey {
        match self {
            Self::Sent(entry) => &entry.row,
            Self::Success(entry) => &entry.row,
            Self::Error(entry) => &entry.row,
        }
    }

    /// What is worth an entry in the audit: a repeat, or a later time of the next try, is not.
    fn note(&self, before: &Row, after: &Row) -> Option<Note> {
        let same = (before.status, &before.event_id, before.attempts, &before.last_error)
            == (after.status, &after.event_id, after.attempts, &after.last_error);
        if same {
            return None;
        }
        let (action, at_ms, detail) = match self {
            Self::Sent(entry) => (AuditAction::TargetSent, entry.at_ms, None),
            Self::Success(entry) => {
                (AuditAction::TargetSuccess, entry.at_ms, after.proof.map(str::to_owned))
            }
            Self::Error(entry) => (AuditAction::TargetError, entry.at_ms, after.last_error.clone()),
        };
        let RowKey { key, target, revision } = self.row();
        Some(Note {
            target: Some(target.as_str().to_owned()),
            revision: Some(revision.get()),
            event_id: after.event_id.clone(),
            detail,
            ..Note::of(at_ms, action, key)
        })
    }
}
