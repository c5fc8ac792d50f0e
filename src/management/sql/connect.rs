//! Opens the connections to a database.

use std::str::FromStr;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Database, Executor};

use super::db::Db;
use super::failure::Failure;
use crate::management::ManagementError;

/// How long a call waits for a free connection, or SQLite for its lock.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the database that the URL names: `sqlite:`, `postgres:` (or `postgresql:`), `mysql:` (or
/// `mariadb:`).
pub(super) async fn connect(url: &str, most: u32) -> Result<Db, ManagementError> {
    let opened = match url.split(':').next() {
        Some("sqlite") => sqlite(url, most).await,
        Some("postgres" | "postgresql") => postgres(url, most).await.map(Db::Postgres),
        Some("mysql" | "mariadb") => mysql(url, most).await.map(Db::Mysql),
        // The URL may have a password in it: it is not repeated.
        _ => {
            let message =
                "database URL: expected one that starts with sqlite:, postgres: or mysql:";
            return Err(ManagementError::permanent(message));
        }
    };
    Ok(opened?)
}

/// What the driver says of a URL that it cannot read may repeat parts of it, and with them the
/// password: it is left out.
fn parse<T: FromStr>(url: &str) -> Result<T, Failure> {
    let unreadable = || {
        let message = "database URL: expected kind://user:password@host:port/database, with special \
             characters of the password as %xx, or sqlite:path";
        ManagementError::permanent(message).into()
    };
    // Without a host all of it would be taken for a path: the name of the database, which servers
    // repeat in their errors.
    if !url.starts_with("sqlite:") && !url.contains("://") {
        return Err(unreadable());
    }
    url.parse().map_err(|_| unreadable())
}

/// Write-ahead log, so that readers and the writer do not wait for each other. Each decision is on
/// the disk before it counts: one that is in effect must not be forgotten by a power cut.
/// Replicas may start together on a new file. The switch to WAL that each of them then makes does not
/// wait for the others as all else does: it fails as busy at once, and is tried again here.
async fn sqlite(url: &str, most: u32) -> Result<Db, Failure> {
    let options: SqliteConnectOptions = parse(url)?;
    let in_memory = url.contains(":memory:") || url.contains("mode=memory");
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match open_sqlite(options.clone(), in_memory, most).await {
            Err(error) if is_busy(&error) && tokio::time::Instant::now() < until => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            opened => return Ok(opened?),
        }
    }
}

/// `SQLITE_BUSY`, plain or extended: the low byte of the code is 5.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

async fn open_sqlite(
    options: SqliteConnectOptions,
    in_memory: bool,
    most: u32,
) -> Result<Db, sqlx::Error> {
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // What is cleared (a plain secret above all) does not stay readable in the file.
        .pragma("secure_delete", "ON")
        .busy_timeout(PATIENCE)
        .disable_statement_logging();
    if in_memory {
        // Each connection would have a database of its own, which ends with it.
        let only = SqlitePoolOptions::new().min_connections(1).max_connections(1);
        let only = only.max_lifetime(None).idle_timeout(None).connect_with(options).await?;
        return Ok(Db::Sqlite { durable: only.clone(), repeatable: only });
    }
    let durable = pool(most).connect_with(options.clone()).await?;
    let options = options.synchronous(SqliteSynchronous::Normal);
    let repeatable = pool(most).connect_with(options).await?;
    Ok(Db::Sqlite { durable, repeatable })
}

async fn postgres(url: &str, most: u32) -> Result<sqlx::PgPool, Failure> {
    let options = parse::<PgConnectOptions>(url)?.disable_statement_logging();
    probe::<sqlx::Postgres>(&options).await?;
    let pool: PgPoolOptions = pool(most);
    let pool = pool.after_connect(|connection, _| {
        Box::pin(async move { connection.execute(POSTGRES_SESSION).await.map(drop) })
    });
    Ok(pool.connect_with(options).await?)
}

/// Statements look up a batch of keys whose size the planner does not know, in tables of which its
/// statistics may lag behind: it would read a whole table of thousands of rows to find a hundred.
/// Every one of them has an index for what it asks.
const POSTGRES_SESSION: &str = "SET default_transaction_isolation = 'read committed'; \
     SET lock_timeout = '10s'; \
     SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off";

async fn mysql(url: &str, most: u32) -> Result<sqlx::MySqlPool, Failure> {
    let url =
        url.strip_prefix("mariadb:").map_or_else(|| url.to_owned(), |rest| format!("mysql:{rest}"));
    let options = parse::<MySqlConnectOptions>(&url)?.disable_statement_logging();
    probe::<sqlx::MySql>(&options).await?;
    let pool: MySqlPoolOptions = pool(most);
    let pool = pool.after_connect(|connection, _| {
        Box::pin(async move {
            // A snapshot taken before a lock was got would show rows as they were before it.
            connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
            connection.execute("SET SESSION innodb_lock_wait_timeout = 10").await.map(drop)
        })
    });
    Ok(pool.connect_with(options).await?)
}

/// A pool says of a server that is away only that no connection came in time; a single connection
/// says why.
async fn probe<D: Database>(
    options: &<D::Connection as Connection>::Options,
) -> Result<(), sqlx::Error> {
    let connecting = tokio::time::timeout(PATIENCE, options.connect()).await;
    connecting.map_err(|_| sqlx::Error::PoolTimedOut)??.close().await
}

fn pool<D: Database>(most: u32) -> PoolOptions<D> {
    PoolOptions::new().max_connections(most).acquire_timeout(PATIENCE)
}
