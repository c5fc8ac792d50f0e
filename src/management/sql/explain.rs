//! How the database finds what it is asked for.

use super::db::Value;
use super::dialect::Dialect;
use super::failure::Failure;
use super::pending::{Position, free_rows_query};
use super::upkeep::unproved_query;
use super::{Inner, SqlManagement};
use crate::id::{PeerQueue, Track};
use crate::management::{ManagementError, ReopenRows};
use crate::store::StoreId;

impl SqlManagement {
    /// How the database finds open rows among settled ones: the lines of its query plan (SQLite,
    /// PostgreSQL) or the index it uses (MariaDB). For operators who wonder whether its statistics
    /// are up to date.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn explain_open_work(&self) -> Result<Vec<String>, ManagementError> {
        Ok(run!(self, inner, [], open_work(&inner))?)
    }

    /// How the database finds the rows of a target that its present store has not proved, in the words
    /// of [`SqlManagement::explain_open_work`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn explain_reopening(
        &self,
        target: &PeerQueue,
        track: Track,
    ) -> Result<Vec<String>, ManagementError> {
        let request = ReopenRows {
            target: target.clone(),
            track,
            proved_by: StoreId::new("present").ok(),
            after: None,
            limit: 100,
            now_ms: self.inner.clock.now_ms(),
        };
        Ok(run!(self, inner, [request], reopening(&inner, &request))?)
    }
}

async fn open_work(inner: &Inner) -> Result<Vec<String>, Failure> {
    let (start, now_ms) = (Position::default(), inner.clock.now_ms());
    explain(inner, |dialect| free_rows_query(dialect, &inner.worker, &start, 100, now_ms)).await
}

async fn reopening(inner: &Inner, request: &ReopenRows) -> Result<Vec<String>, Failure> {
    explain(inner, |dialect| unproved_query(dialect, request, "")).await
}

async fn explain(
    inner: &Inner,
    query: impl FnOnce(Dialect) -> (String, Vec<Value>),
) -> Result<Vec<String>, Failure> {
    let mut tx = inner.db.begin_reading().await?;
    let (prefix, column) = match tx.dialect() {
        Dialect::Sqlite => ("EXPLAIN QUERY PLAN", "detail"),
        Dialect::Postgres => ("EXPLAIN", "QUERY PLAN"),
        Dialect::Mysql => ("EXPLAIN", "key"),
    };
    let (sql, values) = query(tx.dialect());
    let records = tx.fetch(&format!("{prefix} {sql}"), values).await?;
    records.iter().map(|record| Ok(record.text_or_null(column)?.unwrap_or_default())).collect()
}
