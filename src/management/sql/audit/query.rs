//! Reading the audit.

use super::super::db::{Db, Value};
use super::super::failure::Failure;
use super::AuditEntry;
use crate::id::CredentialKey;

/// Which entries, newest first.
#[derive(Clone, Debug)]
#[must_use]
pub struct AuditQuery {
    key: Option<CredentialKey>,
    before: u64,
    limit: u64,
}

impl AuditQuery {
    /// The newest entries.
    pub fn newest(limit: u32) -> Self {
        Self { key: None, before: i64::MAX.unsigned_abs(), limit: limit.into() }
    }

    /// Of one credential only.
    pub fn of(mut self, key: CredentialKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Only entries with a smaller number: the next page.
    pub fn before(mut self, seq: u64) -> Self {
        self.before = seq;
        self
    }
}

pub(in super::super) async fn query(
    db: &Db,
    query: &AuditQuery,
) -> Result<Vec<AuditEntry>, Failure> {
    let mut values: Vec<Value> = vec![query.before.into()];
    let mut only = "";
    if let Some(key) = &query.key {
        only = " AND track = ? AND client_id = ?";
        values.extend([key.track.as_str().into(), key.client_id.as_str().into()]);
    }
    values.push(query.limit.into());
    let sql = format!(
        "SELECT * FROM hmac_propagation_audit WHERE seq < ?{only} ORDER BY seq DESC LIMIT ?"
    );
    let mut tx = db.begin_reading().await?;
    tx.fetch(&sql, values).await?.iter().map(AuditEntry::read).collect()
}
