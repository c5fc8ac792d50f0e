//! Reading the audit.

use super::super::db::{Db, Value};
use super::super::failure::Failure;
use super::{AuditAction, AuditEntry};
use crate::id::CredentialKey;

/// Which entries, newest first.
#[derive(Clone, Debug)]
#[must_use]
pub struct AuditQuery {
    key: Option<CredentialKey>,
    actions: Vec<AuditAction>,
    before: u64,
    limit: u64,
}

impl AuditQuery {
    /// The newest entries.
    pub fn newest(limit: u32) -> Self {
        Self {
            key: None,
            actions: Vec::new(),
            before: i64::MAX.unsigned_abs(),
            limit: limit.into(),
        }
    }

    /// Of one credential only.
    pub fn of(mut self, key: CredentialKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Only of these kinds. Default: all.
    pub fn actions(mut self, actions: impl IntoIterator<Item = AuditAction>) -> Self {
        self.actions.extend(actions);
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
    let (condition, mut values) = query.condition();
    values.push(query.limit.into());
    let sql =
        format!("SELECT * FROM hmac_propagation_audit WHERE {condition} ORDER BY seq DESC LIMIT ?");
    let mut tx = db.begin_reading().await?;
    tx.fetch(&sql, values).await?.iter().map(AuditEntry::read).collect()
}

pub(in super::super) async fn count(db: &Db, query: &AuditQuery) -> Result<u64, Failure> {
    let (condition, values) = query.condition();
    let sql = format!("SELECT COUNT(*) AS entries FROM hmac_propagation_audit WHERE {condition}");
    let mut tx = db.begin_reading().await?;
    tx.fetch_one(&sql, values).await?.map_or(Ok(0), |record| record.count("entries"))
}

impl AuditQuery {
    fn condition(&self) -> (String, Vec<Value>) {
        let mut sql = String::from("seq < ?");
        let mut values: Vec<Value> = vec![self.before.into()];
        if let Some(key) = &self.key {
            sql.push_str(" AND track = ? AND client_id = ?");
            values.extend([key.track.as_str().into(), key.client_id.as_str().into()]);
        }
        if !self.actions.is_empty() {
            let marks = vec!["?"; self.actions.len()].join(", ");
            sql.push_str(&format!(" AND action IN ({marks})"));
            values.extend(self.actions.iter().map(|action| Value::from(action.as_str())));
        }
        (sql, values)
    }
}
