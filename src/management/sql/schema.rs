//! The tables, and how they come into a database.
//!
//! The steps are embedded and kept in a table of their own, so that they meet no other migrations
//! of the service that shares the database. Replicas may start together: one of them works, the
//! others wait.

use super::db::{Db, Tx};
use super::dialect::Dialect;
use super::failure::Failure;
use crate::management::ManagementError;

struct Step {
    version: u64,
    sqlite: &'static str,
    postgres: &'static str,
    mysql: &'static str,
}

/// Append only: a step that was ever released never changes.
const STEPS: [Step; 3] = [
    Step {
        version: 1,
        sqlite: include_str!("schema/sqlite/0001_tables.sql"),
        postgres: include_str!("schema/postgres/0001_tables.sql"),
        mysql: include_str!("schema/mysql/0001_tables.sql"),
    },
    Step {
        version: 2,
        sqlite: include_str!("schema/sqlite/0002_notes.sql"),
        postgres: include_str!("schema/postgres/0002_notes.sql"),
        mysql: include_str!("schema/mysql/0002_notes.sql"),
    },
    Step {
        version: 3,
        sqlite: include_str!("schema/sqlite/0003_stores.sql"),
        postgres: include_str!("schema/postgres/0003_stores.sql"),
        mysql: include_str!("schema/mysql/0003_stores.sql"),
    },
];

const NAME: &str = "hmac_schema";

/// Brings the tables to what this version needs.
///
/// # Errors
/// Permanent when a newer version has been here: it may store what this one does not understand.
pub(super) async fn migrate(db: &Db) -> Result<(), ManagementError> {
    Ok(db.settled(|| run(db)).await?)
}

async fn run(db: &Db) -> Result<(), Failure> {
    let mut tx = db.begin().await?;
    lock(&mut tx).await?;
    let ended = missing_steps(&mut tx).await;
    // MariaDB's lock belongs to the connection, which goes back into the pool.
    if tx.dialect() == Dialect::Mysql {
        tx.fetch("SELECT RELEASE_LOCK('hmac_schema') AS released", Vec::new()).await?;
    }
    ended?;
    tx.commit().await
}

async fn missing_steps(tx: &mut Tx) -> Result<(), Failure> {
    tx.script(
        "CREATE TABLE IF NOT EXISTS hmac_schema (version BIGINT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)",
    )
    .await?;
    let newest = format!("SELECT COALESCE(MAX(version), 0) AS version FROM {NAME}");
    let found = tx.fetch_one(&newest, Vec::new()).await?;
    let found = found.map_or(Ok(0), |record| record.count("version"))?;
    if found > STEPS.iter().map(|step| step.version).max().unwrap_or(0) {
        let message = format!("the tables are at version {found}, made by a newer release");
        return Err(ManagementError::permanent(message).into());
    }
    for step in STEPS.iter().filter(|step| step.version > found) {
        let script = match tx.dialect() {
            Dialect::Sqlite => step.sqlite,
            Dialect::Postgres => step.postgres,
            Dialect::Mysql => step.mysql,
        };
        tx.script(script).await?;
        let now = tx.dialect().now_ms();
        let done = format!("INSERT INTO {NAME} (version, applied_at) VALUES (?, {now})");
        tx.execute(&done, vec![step.version.into()]).await?;
    }
    Ok(())
}

/// One process at a time. SQLite's transaction has the database to itself already.
async fn lock(tx: &mut Tx) -> Result<(), Failure> {
    match tx.dialect() {
        Dialect::Sqlite => {}
        Dialect::Postgres => {
            // Any number that others do not use: the first bytes of "hmac_schema".
            let sql = "SELECT 1 AS got FROM pg_advisory_xact_lock(7524253128484151)";
            tx.fetch(sql, Vec::new()).await?;
        }
        Dialect::Mysql => {
            let sql = "SELECT COALESCE(GET_LOCK('hmac_schema', 60), 0) AS got";
            let got = tx.fetch_one(sql, Vec::new()).await?;
            if got.map_or(Ok(0), |record| record.int("got"))? != 1 {
                let message = "another process has been changing the tables for a minute";
                return Err(ManagementError::transient(message).into());
            }
        }
    }
    Ok(())
}
