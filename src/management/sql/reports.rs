//! The callback that records how revisions ended.
//!
//! The library reports credential by credential. Reports that come while one is being recorded are
//! recorded together after it, in one transaction: a transaction of its own for each would cost a
//! sync more than all its rows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value as Json, json};
use tokio::sync::oneshot;

use super::audit::{self, AuditAction, Note};
use super::db::{Tx, clamp};
use super::dialect::{Column, Dialect};
use super::failure::Failure;
use super::row::outcome;
use super::{Inner, key_of};
use crate::id::CredentialKey;
use crate::management::{FullyPropagated, ManagementError, Outcome};

/// Most reports of one transaction.
const BATCH: usize = 256;

type Waiting = (FullyPropagated, oneshot::Sender<Result<(), ManagementError>>);

/// Reports that wait for their turn. Each has a caller that awaits it, so they do not pile up.
#[derive(Default)]
pub(super) struct Reports {
    waiting: Mutex<Vec<Waiting>>,
    turn: tokio::sync::Mutex<()>,
}

/// Records a report, together with those that wait.
pub(super) async fn report(
    inner: Arc<Inner>,
    report: FullyPropagated,
) -> Result<(), ManagementError> {
    let (done, answer) = oneshot::channel();
    inner.reports.lock().push((report, done));
    tokio::spawn(async move {
        let _turn = inner.reports.turn.lock().await;
        // Empty where the one before has taken this one along.
        let batch: Vec<Waiting> = inner.reports.lock().drain(..).collect();
        record(&inner, batch).await;
    });
    let lost = |_| Err(ManagementError::transient("the task of a report did not come to its end"));
    answer.await.unwrap_or_else(lost)
}

async fn record(inner: &Inner, mut batch: Vec<Waiting>) {
    while !batch.is_empty() {
        let part: Vec<Waiting> = batch.drain(..batch.len().min(BATCH)).collect();
        let (reports, callers): (Vec<_>, Vec<_>) = part.into_iter().unzip();
        let together = inner.db.settled(|| write(inner, &reports)).await;
        let together = together.map_err(ManagementError::from);
        for (report, caller) in reports.iter().zip(callers) {
            // One that cannot be recorded must not fail the others.
            let result = match &together {
                Err(_) if reports.len() > 1 => {
                    let alone = std::slice::from_ref(report);
                    inner.db.settled(|| write(inner, alone)).await.map_err(ManagementError::from)
                }
                done => done.clone(),
            };
            // A caller that has gone does not need the answer.
            let _ = caller.send(result);
        }
    }
}

impl Reports {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const KEY: [(&str, Column); 2] = [("track", Column::Name), ("client_id", Column::Name)];
const SET: [(&str, Column); 2] = [("outcome", Column::Name), ("reported_at", Column::Int)];

async fn write(inner: &Inner, reports: &[FullyPropagated]) -> Result<(), Failure> {
    let mut tx = inner.db.begin_repeatable().await?;
    let mut stored = lock(&mut tx, reports).await?;
    let (mut rows, mut notes) = (BTreeMap::new(), Vec::new());
    for FullyPropagated { key, revision, outcome, at_ms } in reports {
        // A report about another revision, a repeat, or a worse outcome that comes late changes
        // nothing: rows of a revision only get better.
        let Some((at, reported)) = stored.get_mut(key).filter(|(at, _)| *at == revision.get())
        else {
            continue;
        };
        if reported.is_some_and(|reported| reported >= *outcome) {
            continue;
        }
        *reported = Some(*outcome);
        rows.insert(key, json!([key.track, key.client_id, outcome.as_str(), clamp(*at_ms)]));
        notes.push(Note {
            revision: Some(*at),
            detail: Some(outcome.as_str().to_owned()),
            ..Note::of(*at_ms, AuditAction::FullyPropagated, key)
        });
    }
    if !rows.is_empty() {
        let batch = tx.dialect().batch(&[KEY, SET].concat());
        let set = [
            ("unreported", "0"),
            ("plain_secret", "NULL"),
            ("outcome", "b.outcome"),
            ("reported_at", "b.reported_at"),
        ];
        let same = "t.track = b.track AND t.client_id = b.client_id";
        let update = tx.dialect().update_from("hmac_credentials", &batch, &set, same);
        let rows = Json::Array(rows.into_values().collect());
        tx.execute(&update, vec![rows.to_string().into()]).await?;
    }
    audit::append(&mut tx, &inner.actor, notes).await?;
    tx.commit().await
}

/// The revisions and outcomes of the credentials that no row is open for; nobody else decides about
/// them until the transaction ends.
async fn lock(
    tx: &mut Tx,
    reports: &[FullyPropagated],
) -> Result<BTreeMap<CredentialKey, (u64, Option<Outcome>)>, Failure> {
    let keys: BTreeMap<&CredentialKey, Json> = reports
        .iter()
        .map(|report| (&report.key, json!([report.key.track, report.key.client_id])))
        .collect();
    let lock = match tx.dialect() {
        Dialect::Postgres => " FOR UPDATE OF c",
        other => other.for_update(),
    };
    let sql = format!(
        "SELECT c.track, c.client_id, c.revision, c.outcome \
         FROM {} AS b CROSS JOIN hmac_credentials AS c \
         WHERE c.track = b.track AND c.client_id = b.client_id ORDER BY c.track, c.client_id{lock}",
        tx.dialect().batch(&KEY)
    );
    let keys = Json::Array(keys.into_values().collect()).to_string();
    let mut stored = BTreeMap::new();
    for record in tx.fetch(&sql, vec![keys.clone().into()]).await? {
        if let Some(key) = key_of(&record)? {
            let reported = record.text_or_null("outcome")?;
            let reported = reported.as_deref().and_then(outcome);
            stored.insert(key, (record.count("revision")?, reported));
        }
    }
    // Rows that were opened again since: the revision is reported when they are settled. Looked at by a
    // statement of its own: the one that waited for the lock may have read the rows before it waited.
    let sql = format!(
        "SELECT DISTINCT r.track, r.client_id FROM {} AS b CROSS JOIN hmac_credential_targets AS r \
         WHERE r.track = b.track AND r.client_id = b.client_id AND r.is_open = 1",
        tx.dialect().batch(&KEY)
    );
    for record in tx.fetch(&sql, vec![keys.into()]).await? {
        if let Some(key) = key_of(&record)? {
            stored.remove(&key);
        }
    }
    Ok(stored)
}
