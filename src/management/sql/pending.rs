//! The open work, page by page, claimed row by row.
//!
//! A row that a page hands out is this worker's for a while: other workers on the same database,
//! also ones with another Redis, pass over it. The clock of that claim is the database's, because
//! the workers' own may differ. A worker that dies leaves its rows to the others when the claim
//! ends; one that was only slow is not believed any more once another took the row (`row.rs`).

use serde_json::{Value as Json, json};

use super::db::{Record, Tx, Value};
use super::dialect::Dialect;
use super::failure::Failure;
use super::marks::{KEY, SAME_ROW};
use super::row::status;
use super::vault::{Place, Vault};
use super::{Inner, key_of, revision_of};
use crate::id::{EventId, PeerQueue, Revision, Track};
use crate::management::{
    FetchPending, ManagementError, Operation, PendingPage, PendingPropagation, PendingTarget,
    PendingWork,
};
use crate::secret::PropagationSecret;

/// A place in the order of all work: track, client, target (empty: the credential itself).
pub(super) type Position = (String, String, String);

pub(super) async fn fetch(inner: &Inner, request: &FetchPending) -> Result<PendingPage, Failure> {
    let after = request.after.as_deref().map_or(Ok(Position::default()), position)?;
    if request.limit == 0 {
        return Ok(PendingPage::default());
    }
    let mut tx = inner.db.begin_repeatable().await?;
    let limit = request.limit as u64;
    let mut work = reports(&mut tx, &inner.vault, &after, limit).await?;
    let rows = free_rows(&mut tx, &inner.worker, &after, limit, request.now_ms).await?;
    work.extend(rows.into_iter().map(|position| (position, None)));
    work.sort_by(|a, b| a.0.cmp(&b.0));
    // What is cut off here was locked but is not claimed, and is free again with the commit.
    work.truncate(request.limit);
    let next = if work.len() == request.limit { work.last().map(token) } else { None };
    let claimed: Vec<Json> =
        work.iter().filter(|(_, report)| report.is_none()).map(|(at, _)| json!(at)).collect();
    let mut entries: Vec<_> =
        work.into_iter().filter_map(|(at, report)| Some((at, report?))).collect();
    if !claimed.is_empty() {
        let claimed = Json::Array(claimed).to_string();
        entries.extend(details(&mut tx, &inner.vault, &claimed).await?);
        claim(&mut tx, inner, claimed).await?;
    }
    tx.commit().await?;
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(PendingPage { entries: entries.into_iter().map(|(_, entry)| entry).collect(), next })
}

/// Credentials that no row is open for and that were not reported.
async fn reports(
    tx: &mut Tx,
    vault: &Vault,
    (track, client, _): &Position,
    limit: u64,
) -> Result<Vec<(Position, Option<PendingPropagation>)>, Failure> {
    let dialect = tx.dialect();
    let sql = format!(
        "SELECT c.track, c.client_id, c.revision, c.operation, c.secret_hash, c.allowed_ips, \
             c.expires_at, (SELECT COUNT(*) FROM hmac_credential_targets AS r WHERE r.track = c.track \
              AND r.client_id = c.client_id AND r.status = 'success') AS succeeded, \
             (SELECT COUNT(*) FROM hmac_credential_targets AS r WHERE r.track = c.track \
              AND r.client_id = c.client_id AND r.status = 'error') AS failed \
         FROM hmac_credentials AS c \
         WHERE c.unreported = 1 AND {} AND NOT EXISTS (SELECT 1 FROM hmac_credential_targets AS r \
             WHERE r.is_open = 1 AND r.track = c.track AND r.client_id = c.client_id) \
         ORDER BY c.track, c.client_id LIMIT ?",
        dialect.after(&["c.track", "c.client_id"])
    );
    let mut values = dialect.after_values(&[track, client]);
    values.push(limit.into());
    let records = tx.fetch(&sql, values).await?;
    prepare(tx, vault, &records, &["secret_hash"]).await?;
    let mut found = Vec::new();
    for record in records {
        let (succeeded, failed) = (record.count("succeeded")?, record.count("failed")?);
        let revision = revision_of(&record)?;
        let entry = PendingPropagation {
            track: track_of(&record)?,
            client_id: record.text("client_id")?,
            revision,
            operation: operation(vault, &record, revision)?,
            work: PendingWork::Report { succeeded, failed },
        };
        let at = (record.text("track")?, record.text("client_id")?, String::new());
        found.push((at, Some(entry)));
    }
    Ok(found)
}

/// Locks rows that are due and that no other worker has, in their order.
async fn free_rows(
    tx: &mut Tx,
    worker: &str,
    after: &Position,
    limit: u64,
    now_ms: u64,
) -> Result<Vec<Position>, Failure> {
    let (sql, values) = free_rows_query(tx.dialect(), worker, after, limit, now_ms);
    let records = tx.fetch(&sql, values).await?;
    let read = |record: &Record| {
        Ok((record.text("track")?, record.text("client_id")?, record.text("target")?))
    };
    records.iter().map(read).collect()
}

/// The rows of a page.
pub(super) fn free_rows_query(
    dialect: Dialect,
    worker: &str,
    (track, client, target): &Position,
    limit: u64,
    now_ms: u64,
) -> (String, Vec<Value>) {
    let sql = format!(
        "SELECT r.track, r.client_id, r.target FROM hmac_credential_targets AS r \
         WHERE r.is_open = 1 AND {} \
             AND (r.status = 'pending' OR r.retry_at IS NULL OR r.retry_at <= ?) \
             AND (r.claimed_until IS NULL OR r.claimed_until <= {} OR r.claimed_by = ?) \
         ORDER BY r.track, r.client_id, r.target LIMIT ?{}",
        dialect.after(&["r.track", "r.client_id", "r.target"]),
        dialect.now_ms(),
        dialect.for_update_skip_locked(),
    );
    let mut values = dialect.after_values(&[track, client, target]);
    values.extend([now_ms.into(), worker.into(), Value::from(limit)]);
    (sql, values)
}

/// The locked rows with their credentials and targets.
async fn details(
    tx: &mut Tx,
    vault: &Vault,
    rows: &str,
) -> Result<Vec<(Position, PendingPropagation)>, Failure> {
    let batch = tx.dialect().batch(&KEY);
    let sql = format!(
        "SELECT r.track, r.client_id, r.target, r.revision, r.status, r.event_id, r.attempts, \
             c.operation, c.secret_hash, c.allowed_ips, c.expires_at, \
             d.propagation_secret, d.receive_only \
         FROM {batch} AS b CROSS JOIN hmac_credential_targets AS r \
             CROSS JOIN hmac_credentials AS c \
             LEFT JOIN hmac_propagation_targets AS d ON d.queue = r.target \
         WHERE r.track = b.track AND r.client_id = b.client_id AND r.target = b.target \
             AND c.track = r.track AND c.client_id = r.client_id AND c.revision = r.revision"
    );
    let records = tx.fetch(&sql, vec![rows.into()]).await?;
    prepare(tx, vault, &records, &["secret_hash", "propagation_secret"]).await?;
    records.iter().map(|record| detail(vault, record)).collect()
}

/// Has the keys at hand that these columns need.
pub(super) async fn prepare(
    tx: &mut Tx,
    vault: &Vault,
    records: &[Record],
    columns: &[&str],
) -> Result<(), Failure> {
    let mut sealed = Vec::new();
    for record in records {
        for column in columns {
            sealed.extend(record.text_or_null(column)?);
        }
    }
    vault.prepare(tx, sealed.iter().map(String::as_str)).await
}

fn detail(vault: &Vault, record: &Record) -> Result<(Position, PendingPropagation), Failure> {
    let (track, revision) = (track_of(record)?, revision_of(record)?);
    let (client_id, queue) = (record.text("client_id")?, record.text("target")?);
    let at = (record.text("track")?, client_id.clone(), queue.clone());
    let entry = PendingPropagation {
        track,
        revision,
        operation: operation(vault, record, revision)?,
        work: PendingWork::Deliver(PendingTarget {
            propagation_secret: propagation_secret(vault, record, &queue)?,
            receive_only: record.int_or_null("receive_only")?.is_some_and(|flag| flag != 0),
            status: status(&record.text("status")?),
            event_id: record.text_or_null("event_id")?.and_then(|id| EventId::new(id).ok()),
            attempts: u32::try_from(record.count("attempts")?).unwrap_or(u32::MAX),
            queue,
        }),
        client_id,
    };
    Ok((at, entry))
}

/// A value that does not open is given as one that is no hash: the library then says of this row
/// that it cannot be propagated, and goes on with the others.
pub(super) fn operation(
    vault: &Vault,
    record: &Record,
    revision: Revision,
) -> Result<Operation, Failure> {
    let word = record.text("operation")?;
    let Some(sealed) = record.text_or_null("secret_hash")?.filter(|_| word != "delete") else {
        return Ok(Operation::Delete);
    };
    let opened = match key_of(record)? {
        Some(key) => vault.open(Place::Hash(&key, revision), &sealed),
        None => Err(ManagementError::permanent("not a well-formed client id")),
    };
    let secret_hash = opened.unwrap_or_else(|error| {
        let client = record.text("client_id").unwrap_or_default();
        tracing::warn!("the hash of {client:?} cannot be read: {error}");
        zeroize::Zeroizing::default()
    });
    Ok(Operation::Put {
        create: word == "create",
        secret_hash: secret_hash.to_string(),
        allowed_ips: record.text_or_null("allowed_ips")?.map(|stored| rules(&stored)),
        expires_at: record.time_or_null("expires_at")?,
    })
}

/// As stored. What is no list of texts is handed on as one rule, which no check lets pass.
pub(super) fn rules(stored: &str) -> Vec<String> {
    serde_json::from_str(stored).unwrap_or_else(|_| vec![stored.to_owned()])
}

fn propagation_secret(
    vault: &Vault,
    record: &Record,
    queue: &str,
) -> Result<Option<PropagationSecret>, Failure> {
    let Some(sealed) = record.text_or_null("propagation_secret")? else { return Ok(None) };
    let opened = match PeerQueue::new(queue) {
        Ok(queue) => vault.open(Place::Target(&queue), &sealed),
        Err(_) => Err(ManagementError::permanent("not a well-formed queue name")),
    };
    let secret = opened.map(|text| PropagationSecret::new(text.as_str()).ok());
    Ok(secret.unwrap_or_else(|error| {
        tracing::warn!("the propagation secret of {queue:?} cannot be read: {error}");
        None
    }))
}

/// Takes the rows for this worker.
async fn claim(tx: &mut Tx, inner: &Inner, rows: String) -> Result<(), Failure> {
    let dialect = tx.dialect();
    let until = format!("{} + {}", dialect.now_ms(), inner.lease.as_millis());
    let worker = format!("'{}'", inner.worker);
    let set = [("claimed_by", worker.as_str()), ("claimed_until", until.as_str())];
    let batch = dialect.batch(&KEY);
    let update = dialect.update_from("hmac_credential_targets", &batch, &set, SAME_ROW);
    tx.execute(&update, vec![rows.into()]).await.map(drop)
}

/// Where a page ends.
fn token((at, _): &(Position, Option<PendingPropagation>)) -> String {
    json!(at).to_string()
}

fn position(token: &str) -> Result<Position, ManagementError> {
    serde_json::from_str(token)
        .map_err(|e| ManagementError::permanent("not a page token of this adapter").with_source(e))
}

fn track_of(record: &Record) -> Result<Track, Failure> {
    let track = record.text("track")?.parse();
    Ok(track.map_err(|e| ManagementError::permanent("a stored track is unknown").with_source(e))?)
}
