//! Three drivers behind one face, so that every statement above is written once.
//!
//! Statements use `?` for values. Only this file and `connect.rs` know the drivers.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Row};
use tokio::time::sleep;

use super::dialect::Dialect;
use super::failure::Failure;
use crate::entropy::{Entropy, OsEntropy};

/// How often a transaction that lost against another one is run again.
const ROUNDS: u32 = 8;

/// The connections to one database.
#[derive(Clone, Debug)]
pub(super) enum Db {
    Sqlite(sqlx::SqlitePool),
    Postgres(sqlx::PgPool),
    Mysql(sqlx::MySqlPool),
}

/// A transaction. Dropped without a commit, it is rolled back.
pub(super) enum Tx {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
    Mysql(sqlx::Transaction<'static, sqlx::MySql>),
}

/// A value of a statement. Two types are enough: times and flags are numbers, sealed values are
/// text.
#[derive(Clone)]
pub(super) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
}

/// A row of a result.
pub(super) enum Record {
    Sqlite(sqlx::sqlite::SqliteRow),
    Postgres(sqlx::postgres::PgRow),
    Mysql(sqlx::mysql::MySqlRow),
}

impl Db {
    /// A transaction that will write. SQLite takes its write lock at once: taken later, it could
    /// fail because another writer came between.
    pub(super) async fn begin(&self) -> Result<Tx, Failure> {
        Ok(match self {
            Self::Sqlite(pool) => Tx::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
            Self::Mysql(pool) => Tx::Mysql(pool.begin().await?),
        })
    }

    /// A transaction that only reads.
    pub(super) async fn begin_reading(&self) -> Result<Tx, Failure> {
        match self {
            Self::Sqlite(pool) => Ok(Tx::Sqlite(pool.begin().await?)),
            Self::Postgres(_) | Self::Mysql(_) => self.begin().await,
        }
    }

    /// Runs a transaction, again from its start while it loses against others.
    pub(super) async fn settled<T, F>(&self, transaction: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut round = 1;
        loop {
            match transaction().await {
                Ok(done) => return Ok(done),
                Err(Failure::Lost(_)) if round < ROUNDS => {
                    // Apart from each other, so that the same two do not meet again.
                    let wait = Duration::from_millis(5 << round).mul_f64(OsEntropy.unit());
                    sleep(wait).await;
                    round += 1;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Closes all connections. Waits for those that are in use.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
            Self::Mysql(pool) => pool.close().await,
        }
    }
}

/// Binds the values of a statement and runs it on the driver's connection.
macro_rules! run {
    ($tx:expr, $sql:expr, $values:expr, $method:ident) => {{
        let mut query = sqlx::query(AssertSqlSafe($sql));
        for value in $values {
            query = match value {
                Value::Int(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
            };
        }
        query.$method(&mut **$tx).await?
    }};
}

impl Tx {
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
            Self::Mysql(_) => Dialect::Mysql,
        }
    }

    /// Runs a statement; answers how many rows it matched.
    pub(super) async fn execute(&mut self, sql: &str, values: Vec<Value>) -> Result<u64, Failure> {
        let sql = self.dialect().placeholders(sql);
        Ok(match self {
            Self::Sqlite(tx) => run!(tx, sql, values, execute).rows_affected(),
            Self::Postgres(tx) => run!(tx, sql, values, execute).rows_affected(),
            Self::Mysql(tx) => run!(tx, sql, values, execute).rows_affected(),
        })
    }

    /// Runs a query.
    pub(super) async fn fetch(
        &mut self,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Record>, Failure> {
        let sql = self.dialect().placeholders(sql);
        Ok(match self {
            Self::Sqlite(tx) => {
                run!(tx, sql, values, fetch_all).into_iter().map(Record::Sqlite).collect()
            }
            Self::Postgres(tx) => {
                run!(tx, sql, values, fetch_all).into_iter().map(Record::Postgres).collect()
            }
            Self::Mysql(tx) => {
                run!(tx, sql, values, fetch_all).into_iter().map(Record::Mysql).collect()
            }
        })
    }

    /// Runs a query of at most one row.
    pub(super) async fn fetch_one(
        &mut self,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Option<Record>, Failure> {
        Ok(self.fetch(sql, values).await?.pop())
    }

    /// Runs several statements without values.
    pub(super) async fn script(&mut self, sql: &'static str) -> Result<(), Failure> {
        match self {
            Self::Sqlite(tx) => sqlx::raw_sql(sql).execute(&mut **tx).await.map(drop)?,
            Self::Postgres(tx) => sqlx::raw_sql(sql).execute(&mut **tx).await.map(drop)?,
            Self::Mysql(tx) => sqlx::raw_sql(sql).execute(&mut **tx).await.map(drop)?,
        }
        Ok(())
    }

    pub(super) async fn commit(self) -> Result<(), Failure> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
            Self::Mysql(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

macro_rules! get {
    ($record:expr, $column:expr) => {
        match $record {
            Record::Sqlite(row) => row.try_get($column)?,
            Record::Postgres(row) => row.try_get($column)?,
            Record::Mysql(row) => row.try_get($column)?,
        }
    };
}

impl Record {
    pub(super) fn text(&self, column: &str) -> Result<String, Failure> {
        Ok(get!(self, column))
    }

    pub(super) fn text_or_null(&self, column: &str) -> Result<Option<String>, Failure> {
        Ok(get!(self, column))
    }

    pub(super) fn int(&self, column: &str) -> Result<i64, Failure> {
        Ok(get!(self, column))
    }

    pub(super) fn int_or_null(&self, column: &str) -> Result<Option<i64>, Failure> {
        Ok(get!(self, column))
    }

    /// A number that is never negative: the tables' checks see to that.
    pub(super) fn count(&self, column: &str) -> Result<u64, Failure> {
        Ok(self.int(column)?.unsigned_abs())
    }

    /// A time in milliseconds since the epoch.
    pub(super) fn time_or_null(&self, column: &str) -> Result<Option<u64>, Failure> {
        Ok(self.int_or_null(column)?.map(i64::unsigned_abs))
    }

    pub(super) fn flag(&self, column: &str) -> Result<bool, Failure> {
        Ok(self.int(column)? != 0)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(Some(clamp(number)))
    }
}

impl From<Option<u64>> for Value {
    fn from(number: Option<u64>) -> Self {
        Self::Int(number.map(clamp))
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Int(Some(i64::from(flag)))
    }
}

/// Columns are signed 64 bits. A time beyond that is as good as never.
pub(super) fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
