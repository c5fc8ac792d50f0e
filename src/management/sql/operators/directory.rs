//! The directory of targets.

use super::super::audit::{self, AuditAction, Note};
use super::super::db::{Record, Tx, Value};
use super::super::failure::Failure;
use super::super::vault::Place;
use super::super::{Inner, SqlManagement, key_of};
use super::OperatorError;
use crate::id::PeerQueue;
use crate::secret::PropagationSecret;

/// How many users of a target are named when it cannot be dropped.
const NAMED: u64 = 10;
/// Longest stored note, in characters.
const NOTE: usize = 1000;

/// A peer that comes into the directory.
#[derive(Clone, Debug)]
#[must_use]
pub struct NewTarget {
    queue: PeerQueue,
    secret: PropagationSecret,
    receive_only: bool,
    note: Option<String>,
}

impl NewTarget {
    /// A peer with the secret that authenticates what arrives at its queue.
    pub fn new(queue: PeerQueue, secret: PropagationSecret) -> Self {
        Self { queue, secret, receive_only: false, note: None }
    }

    /// It cannot sign its answers: they count without a signature.
    pub fn receive_only(mut self) -> Self {
        self.receive_only = true;
        self
    }

    /// What operators want to know about it; at most 1000 characters are kept.
    pub fn note(mut self, note: &str) -> Self {
        self.note = Some(clean(note));
        self
    }
}

/// What changes about a peer of the directory. The rest stays.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TargetChange {
    secret: Option<PropagationSecret>,
    receive_only: Option<bool>,
    note: Option<String>,
}

impl TargetChange {
    /// Its secret is this from now on.
    pub fn secret(mut self, secret: PropagationSecret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Whether its answers count without a signature.
    pub fn receive_only(mut self, receive_only: bool) -> Self {
        self.receive_only = Some(receive_only);
        self
    }

    /// Its note is this from now on; an empty text removes it.
    pub fn note(mut self, note: &str) -> Self {
        self.note = Some(clean(note));
        self
    }
}

/// A peer of the directory. Its secret is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TargetInfo {
    /// Its queue.
    pub queue: PeerQueue,
    /// Whether its answers count without a signature.
    pub receive_only: bool,
    /// What operators wrote about it.
    pub note: Option<String>,
    /// Since when it is there, in milliseconds since the epoch.
    pub created_at_ms: u64,
    /// When it was last changed, in milliseconds since the epoch.
    pub updated_at_ms: u64,
    /// How many credentials have it as a target.
    pub credentials: u64,
    /// Of these, how many rows are open.
    pub open: u64,
    /// And how many have failed.
    pub failed: u64,
}

impl SqlManagement {
    /// All peers of the directory, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn targets(&self) -> Result<Vec<TargetInfo>, OperatorError> {
        Ok(run!(self, inner, [], list(&inner))?)
    }

    /// Adds a peer to the directory.
    ///
    /// # Errors
    /// `TargetExists`, `OwnQueue`, or when the database fails.
    pub async fn add_target(&self, target: NewTarget) -> Result<(), OperatorError> {
        Ok(run!(self, inner, [target], add(&inner, &target))?)
    }

    /// Changes a peer of the directory. Events that go out from now on carry the new secret, also
    /// those of rows that were open before.
    ///
    /// # Errors
    /// `UnknownTarget`, or when the database fails.
    pub async fn change_target(
        &self,
        queue: &PeerQueue,
        change: TargetChange,
    ) -> Result<(), OperatorError> {
        let queue = queue.clone();
        Ok(run!(self, inner, [queue, change], modify(&inner, &queue, &change))?)
    }

    /// Drops a peer from the directory. Rows of credentials whose deletion it has confirmed go with
    /// it; the audit keeps what they said.
    ///
    /// # Errors
    /// `TargetInUse` names the credentials that still have it; `UnknownTarget`; or when the database
    /// fails.
    pub async fn drop_target(&self, queue: &PeerQueue) -> Result<(), OperatorError> {
        let queue = queue.clone();
        Ok(run!(self, inner, [queue], remove(&inner, &queue))?)
    }
}

async fn list(inner: &Inner) -> Result<Vec<TargetInfo>, Failure> {
    let mut tx = inner.db.begin_reading().await?;
    let sql = "SELECT d.queue, d.receive_only, d.note, d.created_at, d.updated_at, \
             COUNT(r.target) AS credentials, \
             COUNT(CASE WHEN r.is_open = 1 THEN 1 END) AS outstanding, \
             COUNT(CASE WHEN r.is_open = 0 AND r.status = 'error' THEN 1 END) AS failed \
         FROM hmac_propagation_targets AS d \
         LEFT JOIN hmac_credential_targets AS r ON r.target = d.queue \
         GROUP BY d.queue, d.receive_only, d.note, d.created_at, d.updated_at ORDER BY d.queue";
    let records = tx.fetch(sql, Vec::new()).await?;
    let mut targets = Vec::with_capacity(records.len());
    for record in &records {
        // A name that somebody put there past us is no peer.
        let Ok(queue) = PeerQueue::new(record.text("queue")?) else { continue };
        targets.push(info(queue, record)?);
    }
    Ok(targets)
}

fn info(queue: PeerQueue, record: &Record) -> Result<TargetInfo, Failure> {
    Ok(TargetInfo {
        queue,
        receive_only: record.flag("receive_only")?,
        note: record.text_or_null("note")?.filter(|note| !note.is_empty()),
        created_at_ms: record.count("created_at")?,
        updated_at_ms: record.count("updated_at")?,
        credentials: record.count("credentials")?,
        open: record.count("outstanding")?,
        failed: record.count("failed")?,
    })
}

async fn add(inner: &Inner, target: &NewTarget) -> Result<(), Failure> {
    let NewTarget { queue, secret, receive_only, note } = target;
    if inner.own.as_ref() == Some(queue) {
        return Err(OperatorError::OwnQueue(queue.clone()).into());
    }
    let mut tx = inner.db.begin().await?;
    if lock(&mut tx, queue).await? {
        return Err(OperatorError::TargetExists(queue.clone()).into());
    }
    let now_ms = inner.clock.now_ms();
    let sql = "INSERT INTO hmac_propagation_targets \
         (queue, propagation_secret, receive_only, note, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?)";
    let sealed = inner.vault.seal(Place::Target(queue), secret.expose())?;
    let values: Vec<Value> = vec![
        queue.as_str().into(),
        sealed.into(),
        (*receive_only).into(),
        note.clone().into(),
        now_ms.into(),
        now_ms.into(),
    ];
    tx.execute(sql, values).await?;
    finish(tx, inner, AuditAction::TargetAdded, queue, *receive_only).await
}

async fn modify(inner: &Inner, queue: &PeerQueue, change: &TargetChange) -> Result<(), Failure> {
    let mut tx = inner.db.begin().await?;
    if !lock(&mut tx, queue).await? {
        return Err(OperatorError::UnknownTarget(queue.clone()).into());
    }
    let place = Place::Target(queue);
    let sealed = change.secret.as_ref().map(|secret| inner.vault.seal(place, secret.expose()));
    let sql = "UPDATE hmac_propagation_targets SET \
         propagation_secret = COALESCE(?, propagation_secret), \
         receive_only = COALESCE(?, receive_only), note = COALESCE(?, note), updated_at = ? WHERE queue = ?";
    let values = vec![
        sealed.transpose()?.into(),
        change.receive_only.map(u64::from).into(),
        change.note.clone().into(),
        inner.clock.now_ms().into(),
        queue.as_str().into(),
    ];
    tx.execute(sql, values).await?;
    let receive_only = change.receive_only == Some(true);
    finish(tx, inner, AuditAction::TargetChanged, queue, receive_only).await
}

async fn remove(inner: &Inner, queue: &PeerQueue) -> Result<(), Failure> {
    let mut tx = inner.db.begin().await?;
    // Decisions that name it hold it until they end, and those that come later do not find it.
    if !lock(&mut tx, queue).await? {
        return Err(OperatorError::UnknownTarget(queue.clone()).into());
    }
    let gone = "DELETE FROM hmac_credential_targets WHERE target = ? AND status = 'success' \
         AND EXISTS (SELECT 1 FROM hmac_credentials AS c \
             WHERE c.track = hmac_credential_targets.track \
             AND c.client_id = hmac_credential_targets.client_id AND c.operation = 'delete')";
    tx.execute(gone, vec![queue.as_str().into()]).await?;
    let count = "SELECT COUNT(*) AS users FROM hmac_credential_targets WHERE target = ?";
    let count = tx.fetch_one(count, vec![queue.as_str().into()]).await?;
    let count = count.map_or(Ok(0), |record| record.count("users"))?;
    if count > 0 {
        let sql = "SELECT track, client_id FROM hmac_credential_targets WHERE target = ? \
             ORDER BY track, client_id LIMIT ?";
        let records = tx.fetch(sql, vec![queue.as_str().into(), NAMED.into()]).await?;
        let users = records.iter().map(key_of).collect::<Result<Vec<_>, _>>()?;
        let users = users.into_iter().flatten().collect();
        return Err(OperatorError::TargetInUse { target: queue.clone(), users, count }.into());
    }
    let sql = "DELETE FROM hmac_propagation_targets WHERE queue = ?";
    tx.execute(sql, vec![queue.as_str().into()]).await?;
    finish(tx, inner, AuditAction::TargetDropped, queue, false).await
}

/// Whether it is there; it stays as it is until the transaction ends.
async fn lock(tx: &mut Tx, queue: &PeerQueue) -> Result<bool, Failure> {
    let lock = tx.dialect().for_update();
    let sql = format!("SELECT queue FROM hmac_propagation_targets WHERE queue = ?{lock}");
    Ok(tx.fetch_one(&sql, vec![queue.as_str().into()]).await?.is_some())
}

async fn finish(
    mut tx: Tx,
    inner: &Inner,
    action: AuditAction,
    queue: &PeerQueue,
    receive_only: bool,
) -> Result<(), Failure> {
    let note = Note {
        target: Some(queue.as_str().to_owned()),
        detail: receive_only.then(|| "receive-only".to_owned()),
        ..Note::new(inner.clock.now_ms(), action)
    };
    audit::append(&mut tx, &inner.actor, vec![note]).await?;
    tx.commit().await
}

/// PostgreSQL stores no NUL; nobody reads more than a few lines.
fn clean(note: &str) -> String {
    note.chars().take(NOTE).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}
