//! Brings what is stored under a new key while others work on it.

use serde_json::json;

use super::audit::{self, AuditAction, Note};
use super::db::{Record, Tx, Value};
use super::failure::Failure;
use super::vault::{Place, Vault};
use super::{Inner, SqlManagement, key_of, revision_of};
use crate::id::PeerQueue;
use crate::management::ManagementError;

/// Values looked at in one transaction.
const PAGE: u64 = 200;

/// How far a re-encryption is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reencryption {
    /// Rows looked at.
    pub done: u64,
    /// Rows there were when it began.
    pub total: u64,
    /// Values that were encrypted anew.
    pub changed: u64,
}

impl SqlManagement {
    /// Makes a new data key and encrypts with it all that is stored, also what was stored readable
    /// before there were keys. Reads and writes go on meanwhile. `progress` is called after each
    /// transaction. Broken off, it can be called again.
    ///
    /// Values that do not open are left as they are, with a warning in the log.
    ///
    /// # Errors
    /// Permanent without a [`KeyRing`](super::KeyRing); when the database or the key service fails.
    pub async fn reencrypt(
        &self,
        mut progress: impl FnMut(Reencryption) + Send,
    ) -> Result<Reencryption, ManagementError> {
        if self.inner.vault.ring().is_none() {
            return Err(ManagementError::permanent("keys: expected a key ring to encrypt under"));
        }
        let total = run!(self, inner, [], begin(&inner))?;
        let mut state = Reencryption { total, ..Reencryption::default() };
        let mut after = [String::new(), String::new()];
        loop {
            let page = run!(self, inner, [after], credentials(&inner, &after))?;
            let Some(last) = state.add(page) else { break };
            after = last;
            progress(state);
        }
        let mut after = [String::new(), String::new()];
        loop {
            let page = run!(self, inner, [after], targets(&inner, &after[0]))?;
            let Some(last) = state.add(page) else { break };
            after = last;
            progress(state);
        }
        run!(self, inner, [], end(&inner, state))?;
        Ok(state)
    }

    /// Wraps the data keys anew under the ring's current key, after which older key-encryption keys
    /// are not needed any more. What is stored stays as it is. Answers how many data keys there are.
    ///
    /// # Errors
    /// When the database or the key service fails, or a data key is under a key that is not in the
    /// ring.
    pub async fn rewrap_keys(&self) -> Result<u64, ManagementError> {
        Ok(run!(self, inner, [], rewrap(&inner))?)
    }
}

/// What one transaction did: how many rows it saw, how many values it changed, the last row.
type Page = (u64, u64, Option<[String; 2]>);

impl Reencryption {
    fn add(&mut self, (seen, changed, last): Page) -> Option<[String; 2]> {
        self.done += seen;
        self.changed += changed;
        last
    }
}

async fn begin(inner: &Inner) -> Result<u64, Failure> {
    let new = inner.vault.make().await?;
    let mut tx = inner.db.begin().await?;
    // Of two at once, one key is active in the end.
    audit::head(&mut tx, true).await?;
    if let Some(new) = &new {
        Vault::store(&mut tx, new).await?;
    }
    let sql = "SELECT (SELECT COUNT(*) FROM hmac_credentials) + \
         (SELECT COUNT(*) FROM hmac_propagation_targets) AS total";
    let total = tx.fetch_one(sql, Vec::new()).await?;
    let total = total.map_or(Ok(0), |record| record.count("total"))?;
    tx.commit().await?;
    new.into_iter().for_each(|new| inner.vault.know(new));
    // It may be another's by now.
    let mut tx = inner.db.begin_reading().await?;
    inner.vault.load(&mut tx).await?;
    Ok(total)
}

async fn credentials(inner: &Inner, after: &[String; 2]) -> Result<Page, Failure> {
    let mut tx = inner.db.begin().await?;
    let dialect = tx.dialect();
    // Locked, so that no decision comes between reading and writing.
    let sql = format!(
        "SELECT track, client_id, revision, secret_hash, plain_secret FROM hmac_credentials \
         WHERE {} ORDER BY track, client_id LIMIT ?{}",
        dialect.after(&["track", "client_id"]),
        dialect.for_update()
    );
    let mut values = dialect.after_values(&[&after[0], &after[1]]);
    values.push(PAGE.into());
    let records = tx.fetch(&sql, values).await?;
    let mut changed = 0;
    for record in &records {
        let Some(key) = key_of(record)? else { continue };
        let revision = revision_of(record)?;
        let places = [
            ("secret_hash", Place::Hash(&key, revision)),
            ("plain_secret", Place::Plain(&key, revision)),
        ];
        for (column, place) in places {
            let Some(sealed) = renewed(&mut tx, inner, record, column, place).await? else {
                continue;
            };
            let sql = format!(
                "UPDATE hmac_credentials SET {column} = ? WHERE track = ? AND client_id = ?"
            );
            let names = [key.track.as_str().into(), key.client_id.as_str().into()];
            changed += tx.execute(&sql, [vec![sealed], names.into()].concat()).await?;
        }
    }
    tx.commit().await?;
    let last = match records.last() {
        Some(last) => Some([last.text("track")?, last.text("client_id")?]),
        None => None,
    };
    Ok((records.len() as u64, changed, last))
}

async fn targets(inner: &Inner, after: &str) -> Result<Page, Failure> {
    let mut tx = inner.db.begin().await?;
    let sql = format!(
        "SELECT queue, propagation_secret FROM hmac_propagation_targets \
         WHERE queue > ? ORDER BY queue LIMIT ?{}",
        tx.dialect().for_update()
    );
    let records = tx.fetch(&sql, vec![after.into(), PAGE.into()]).await?;
    let mut changed = 0;
    for record in &records {
        let Ok(queue) = PeerQueue::new(record.text("queue")?) else { continue };
        let place = Place::Target(&queue);
        let sealed = renewed(&mut tx, inner, record, "propagation_secret", place).await?;
        let Some(sealed) = sealed else { continue };
        let sql = "UPDATE hmac_propagation_targets SET propagation_secret = ? WHERE queue = ?";
        changed += tx.execute(sql, vec![sealed, queue.as_str().into()]).await?;
    }
    tx.commit().await?;
    let last = match records.last() {
        Some(last) => Some([last.text("queue")?, String::new()]),
        None => None,
    };
    Ok((records.len() as u64, changed, last))
}

/// A value under the new key; `None` where there is nothing to do.
async fn renewed(
    tx: &mut Tx,
    inner: &Inner,
    record: &Record,
    column: &str,
    place: Place<'_>,
) -> Result<Option<Value>, Failure> {
    let Some(stored) = record.text_or_null(column)? else { return Ok(None) };
    if inner.vault.is_current(&stored) {
        return Ok(None);
    }
    inner.vault.prepare(tx, std::iter::once(stored.as_str())).await?;
    match inner.vault.open_any(place, &stored) {
        Ok(text) => Ok(Some(inner.vault.seal(place, &text)?.into())),
        Err(error) => {
            tracing::warn!("{place:?} stays under its key: {error}");
            Ok(None)
        }
    }
}

async fn end(inner: &Inner, state: Reencryption) -> Result<(), Failure> {
    let mut tx = inner.db.begin().await?;
    let detail = json!({ "changed": state.changed, "looked_at": state.done }).to_string();
    let note =
        Note { detail: Some(detail), ..Note::new(inner.clock.now_ms(), AuditAction::Reencrypted) };
    audit::append(&mut tx, &inner.actor, vec![note]).await?;
    tx.commit().await
}

/// Wrapping may be slow, and nobody waits for it: what is stored meanwhile is found at the end.
async fn rewrap(inner: &Inner) -> Result<u64, Failure> {
    let Some(ring) = inner.vault.ring() else { return Ok(0) };
    let mut tx = inner.db.begin_reading().await?;
    inner.vault.load(&mut tx).await?;
    drop(tx);
    let keys = inner.vault.wrapped_anew().await?;
    let current = ring.current.id();
    let mut tx = inner.db.begin().await?;
    audit::head(&mut tx, true).await?;
    let mut done = 0;
    for (id, wrapped) in keys {
        let update = "UPDATE hmac_data_keys SET kek_id = ?, wrapped = ? WHERE key_id = ?";
        done += tx.execute(update, vec![current.into(), wrapped.into(), id.into()]).await?;
    }
    let left = "SELECT COUNT(*) AS others FROM hmac_data_keys WHERE kek_id <> ?";
    let left = tx.fetch_one(left, vec![current.into()]).await?;
    if left.map_or(Ok(0), |record| record.count("others"))? > 0 {
        let message = "other processes keep making data keys under another key";
        return Err(Failure::Lost(ManagementError::transient(message)));
    }
    tx.commit().await?;
    Ok(done)
}
