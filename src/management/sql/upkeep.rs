//! The callbacks for lost stores: rows that are asked for again, and credentials to fill the own store
//! with.

use serde_json::{Value as Json, json};

use super::audit::{self, AuditAction, Note};
use super::db::{Record, Tx, Value};
use super::dialect::Dialect;
use super::failure::Failure;
use super::marks::{self, KEY, SAME_ROW};
use super::{Inner, pending, revision_of};
use crate::id::Track;
use crate::management::{
    CredentialPage, FetchCredentials, ManagementError, ReopenRows, Reopened, StoredCredential,
};

/// Opens a page of a target's rows again. Between finding and locking them answers may come: a row counts by
/// what it is once it is locked.
pub(super) async fn reopen(inner: &Inner, request: &ReopenRows) -> Result<Reopened, Failure> {
    let after = position(request.track, request.after.as_deref())?;
    if request.limit == 0 {
        return Ok(Reopened::default());
    }
    // On the disk before it counts: whoever asks for it then forgets that it was to be done.
    let mut tx = inner.db.begin().await?;
    let (sql, values) = unproved_query(tx.dialect(), request, &after);
    let found = tx.fetch(&sql, values).await?;
    let clients = found.iter().map(|record| record.text("client_id"));
    let clients = clients.collect::<Result<Vec<_>, _>>()?;
    if clients.is_empty() {
        return Ok(Reopened::default());
    }
    let last = clients.last().filter(|_| clients.len() == request.limit);
    let next = last.map(|last| token(request.track, last));
    let credentials = clients.iter().map(|client| json!([request.track, client])).collect();
    marks::lock(&mut tx, &Json::Array(credentials)).await?;
    let rows = lock_unproved(&mut tx, request, &clients).await?;
    if !rows.is_empty() {
        open(&mut tx, request, &rows).await?;
        let notes = rows.iter().map(|row| note(request, row)).collect::<Result<Vec<_>, _>>()?;
        audit::append(&mut tx, &inner.actor, notes).await?;
        tx.commit().await?;
    }
    Ok(Reopened { rows: rows.len() as u64, next })
}

/// Which rows another store has proved than the one that is named.
fn unproved(request: &ReopenRows) -> (&'static str, Option<Value>) {
    match &request.proved_by {
        Some(store) => (
            "r.status = 'success' AND (r.store_id IS NULL OR r.store_id <> ?)",
            Some(store.as_str().into()),
        ),
        None => ("r.status = 'success'", None),
    }
}

/// The clients of a page of rows.
///
/// By the target: by the primary key, which has the same order, the database would read the rows of all targets.
pub(super) fn unproved_query(
    dialect: Dialect,
    request: &ReopenRows,
    after: &str,
) -> (String, Vec<Value>) {
    let (unproved, store) = unproved(request);
    let by_target = dialect.by_index("hmac_credential_targets_target");
    let sql = format!(
        "SELECT r.client_id FROM hmac_credential_targets AS r{by_target} \
         WHERE r.target = ? AND r.track = ? AND r.client_id > ? AND {unproved} \
         ORDER BY r.client_id LIMIT ?"
    );
    let mut values: Vec<Value> =
        vec![request.target.as_str().into(), request.track.as_str().into(), after.into()];
    values.extend(store);
    values.push((request.limit as u64).into());
    (sql, values)
}

async fn lock_unproved(
    tx: &mut Tx,
    request: &ReopenRows,
    clients: &[String],
) -> Result<Vec<Record>, Failure> {
    let (unproved, store) = unproved(request);
    let lock = match tx.dialect() {
        // A batch has no rows to lock.
        Dialect::Postgres => " FOR UPDATE OF r",
        other => other.for_update(),
    };
    let sql = format!(
        "SELECT r.client_id, r.revision, r.event_id, r.store_id \
         FROM {} AS b CROSS JOIN hmac_credential_targets AS r \
         WHERE r.track = b.track AND r.client_id = b.client_id AND r.target = b.target \
             AND {unproved} ORDER BY r.client_id{lock}",
        tx.dialect().batch(&KEY)
    );
    let rows = clients.iter().map(|client| json!([request.track, client, request.target]));
    let mut values: Vec<Value> = vec![Json::Array(rows.collect()).to_string().into()];
    values.extend(store);
    tx.fetch(&sql, values).await
}

/// Makes locked rows pending, free for every worker, and their credentials unreported.
async fn open(tx: &mut Tx, request: &ReopenRows, rows: &[Record]) -> Result<(), Failure> {
    let (mut keys, mut credentials) = (Vec::new(), Vec::new());
    for row in rows {
        let client = row.text("client_id")?;
        credentials.push(json!([request.track, client]));
        keys.push(json!([request.track, client, request.target]));
    }
    let dialect = tx.dialect();
    let set = [
        ("status", "'pending'"),
        ("is_open", "1"),
        ("retry_at", "NULL"),
        ("settled_at", "NULL"),
        ("proof", "NULL"),
        ("store_id", "NULL"),
        ("claimed_by", "NULL"),
        ("claimed_until", "NULL"),
    ];
    let batch = dialect.batch(&KEY);
    let update = dialect.update_from("hmac_credential_targets", &batch, &set, SAME_ROW);
    tx.execute(&update, vec![Json::Array(keys).to_string().into()]).await?;
    let set = [("unreported", "1"), ("outcome", "NULL"), ("reported_at", "NULL")];
    let same = "t.track = b.track AND t.client_id = b.client_id";
    let batch = dialect.batch(&KEY[..2]);
    let update = dialect.update_from("hmac_credentials", &batch, &set, same);
    tx.execute(&update, vec![Json::Array(credentials).to_string().into()]).await?;
    Ok(())
}

/// Says which store had proved the row.
fn note(request: &ReopenRows, row: &Record) -> Result<Note, Failure> {
    Ok(Note {
        credential: Some((request.track, row.text("client_id")?)),
        target: Some(request.target.as_str().to_owned()),
        revision: Some(row.count("revision")?),
        event_id: row.text_or_null("event_id")?,
        detail: row.text_or_null("store_id")?,
        ..Note::new(request.now_ms, AuditAction::TargetReopened)
    })
}

pub(super) async fn credentials(
    inner: &Inner,
    request: &FetchCredentials,
) -> Result<CredentialPage, Failure> {
    let after = position(request.track, request.after.as_deref())?;
    if request.limit == 0 {
        return Ok(CredentialPage::default());
    }
    let mut tx = inner.db.begin_reading().await?;
    let sql = "SELECT c.track, c.client_id, c.revision, c.operation, c.secret_hash, \
             c.allowed_ips, c.expires_at FROM hmac_credentials AS c \
         WHERE c.track = ? AND c.client_id > ? ORDER BY c.client_id LIMIT ?";
    let limit = request.limit as u64;
    let values = vec![request.track.as_str().into(), after.into(), limit.into()];
    let records = tx.fetch(sql, values).await?;
    pending::prepare(&mut tx, &inner.vault, &records, &["secret_hash"]).await?;
    let last = records.last().filter(|_| records.len() == request.limit);
    let last = last.map(|last| last.text("client_id")).transpose()?;
    let next = last.map(|client| token(request.track, &client));
    let mut entries = Vec::with_capacity(records.len());
    for record in &records {
        let client_id = record.text("client_id")?;
        // Somebody stored it past us. The others must not wait for it.
        let Ok(revision) = revision_of(record) else {
            tracing::warn!("the revision of {client_id:?} is none: the credential is left out");
            continue;
        };
        let operation = pending::operation(&inner.vault, record, revision)?;
        entries.push(StoredCredential { client_id, revision, operation });
    }
    Ok(CredentialPage { entries, next })
}

/// Where a page ends.
fn token(track: Track, client: &str) -> String {
    json!([track, client]).to_string()
}

/// The client that the page before ended with; empty: from the start.
fn position(track: Track, after: Option<&str>) -> Result<String, ManagementError> {
    let Some(after) = after else { return Ok(String::new()) };
    let refused = || ManagementError::permanent("not a page token of this adapter and track");
    let (of, client): (Track, String) =
        serde_json::from_str(after).map_err(|e| refused().with_source(e))?;
    if of == track { Ok(client) } else { Err(refused()) }
}
