//! What is outstanding, counted.

use super::super::db::Record;
use super::super::failure::Failure;
use super::super::{Inner, SqlManagement, revision_of};
use super::OperatorError;
use crate::id::{PeerQueue, Revision};

/// The open rows of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TargetBacklog {
    /// The target.
    pub target: PeerQueue,
    /// Rows that are still to be sent.
    pub pending: u64,
    /// Rows that were sent and not answered.
    pub sent: u64,
    /// Rows whose delivery failed and will be tried again.
    pub retrying: u64,
    /// The oldest revision among them. It reads as the time of its decision, in milliseconds since
    /// the epoch.
    pub oldest: Revision,
}

impl SqlManagement {
    /// How much is open, for each target that has open rows, by name. Reads open rows only, however
    /// many are settled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn backlog(&self) -> Result<Vec<TargetBacklog>, OperatorError> {
        Ok(run!(self, inner, [], count(&inner))?)
    }
}

async fn count(inner: &Inner) -> Result<Vec<TargetBacklog>, Failure> {
    let mut tx = inner.db.begin_reading().await?;
    let sql = "SELECT target, MIN(revision) AS revision, \
             COUNT(CASE WHEN status = 'pending' THEN 1 END) AS pending, \
             COUNT(CASE WHEN status = 'sent' THEN 1 END) AS sent, \
             COUNT(CASE WHEN status = 'error' THEN 1 END) AS retrying \
         FROM hmac_credential_targets WHERE is_open = 1 GROUP BY target ORDER BY target";
    let records = tx.fetch(sql, Vec::new()).await?;
    let mut found = Vec::with_capacity(records.len());
    for record in &records {
        // A name that somebody put there past us is no peer.
        let Ok(target) = PeerQueue::new(record.text("target")?) else { continue };
        found.push(backlog(target, record)?);
    }
    Ok(found)
}

fn backlog(target: PeerQueue, record: &Record) -> Result<TargetBacklog, Failure> {
    Ok(TargetBacklog {
        target,
        pending: record.count("pending")?,
        sent: record.count("sent")?,
        retrying: record.count("retrying")?,
        oldest: revision_of(record)?,
    })
}
