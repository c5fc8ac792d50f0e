//! Measures the SQL adapter beside the one in memory: whole syncs, and fetching ten open rows among
//! ten and among a million.
//!
//! `cargo bench --bench sql --features sql`; `-- --runs N` sets how often each is measured (default
//! 3, after one warm-up), `-- --settled N` the number of settled rows (default a million). All on
//! private servers, with every commit on the disk.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a measuring program")]
#![allow(unreachable_pub, dead_code, reason = "shares files with another bench")]

#[path = "../support/peers.rs"]
mod peers;
#[path = "../support/report.rs"]
mod report;

use std::time::Instant;

use hmac_propagator::management::sql::{NewTarget, SqlManagement};
use hmac_propagator::management::{FetchPending, Management};
use hmac_propagator_support::{Broker, Scratch, SqlKind, SqlServer};
use report::{Figures, Report, ms, number};
use sqlx::{AssertSqlSafe, Connection};

const CREDENTIALS: usize = 2000;
const TARGETS: usize = 4;
const FETCHES: usize = 200;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let runs = number("--runs").unwrap_or(3);
    let settled = number("--settled").unwrap_or(1_000_000);
    let broker = Broker::start().await.unwrap();
    let server = SqlServer::start_durable(SqlKind::Postgres).await.unwrap();
    let (mut memory, mut sqlite, mut postgres) = (Vec::new(), Vec::new(), Vec::new());
    // In turn, so that what else the machine does touches all alike.
    for run in 0..=runs {
        let scratch = Scratch::new().unwrap();
        let database = server.database().await.unwrap();
        let in_memory = peers::events_per_second(&broker, CREDENTIALS, TARGETS).await;
        let in_sqlite = sync(&broker, &sqlite_url(&scratch)).await;
        let in_postgres = sync(&broker, &database.url()).await;
        if run > 0 {
            memory.push(in_memory);
            sqlite.push(in_sqlite);
            postgres.push(in_postgres);
        }
    }
    let mut report = Report::of("sql");
    let memory = Figures::of(memory);
    report.line("one sync of 2000 x 4, memory", "events/s", &memory, "");
    for (name, figures) in [("SQLite", sqlite), ("PostgreSQL", postgres)] {
        let figures = Figures::of(figures);
        let share = format!("{:.0} % of memory", 100.0 * figures.median() / memory.median());
        report.line(&format!("one sync of 2000 x 4, {name}"), "events/s", &figures, &share);
    }
    for rows in [10, settled] {
        let scratch = Scratch::new().unwrap();
        let database = server.database().await.unwrap();
        let management = prepared(&sqlite_url(&scratch)).await;
        fill_sqlite(&sqlite_url(&scratch), rows).await;
        fetches(&mut report, "SQLite", rows, &management).await;
        let management = prepared(&database.url()).await;
        database.execute(&filling(rows, "generate_series(1, N) AS n (i)", "")).await.unwrap();
        database.execute("VACUUM ANALYZE").await.unwrap();
        fetches(&mut report, "PostgreSQL", rows, &management).await;
    }
    report.end();
}

async fn sync(broker: &Broker, url: &str) -> f64 {
    let management = prepared(url).await;
    peers::events_per_second_with(broker, CREDENTIALS, TARGETS, management).await
}

/// With the targets in its directory.
async fn prepared(url: &str) -> SqlManagement {
    let management = SqlManagement::connect(url).await.unwrap();
    for target in 0..TARGETS {
        let name = peers::target_name(target);
        let target = NewTarget::new(peers::queue(&name), peers::secret(&name));
        management.add_target(target).await.unwrap();
    }
    management
}

fn sqlite_url(scratch: &Scratch) -> String {
    format!("sqlite:{}/bench.db", scratch.path().display())
}

async fn fill_sqlite(url: &str, rows: usize) {
    let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
    let numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < N) ";
    let script = filling(rows, "n", numbers);
    sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut connection).await.unwrap();
    sqlx::raw_sql("ANALYZE").execute(&mut connection).await.unwrap();
}

/// Rows that were settled, and ten more that are open.
fn filling(rows: usize, source: &str, numbers: &str) -> String {
    let script = format!(
        "INSERT INTO hmac_credentials (track, client_id, revision, operation, secret_hash, \
             unreported, outcome, created_at, updated_at) \
         {numbers}SELECT 'http', 'client-' || i, 1, 'create', 'plain:{hash}', \
             CASE WHEN i > N - 10 THEN 1 ELSE 0 END, 'success', 1, 1 FROM {source}; \
         INSERT INTO hmac_credential_targets (track, client_id, target, revision, status, is_open, \
             attempts) \
         {numbers}SELECT 'http', 'client-' || i, 'target-0', 1, \
             CASE WHEN i > N - 10 THEN 'pending' ELSE 'success' END, \
             CASE WHEN i > N - 10 THEN 1 ELSE 0 END, 1 FROM {source};",
        hash = "a".repeat(64),
    );
    script.replace(" N", &format!(" {rows}")).replace("(1, N)", &format!("(1, {rows})"))
}

async fn fetches(report: &mut Report, name: &str, rows: usize, management: &SqlManagement) {
    let mut times = Vec::new();
    for fetch in 0..FETCHES {
        let started = Instant::now();
        let page =
            management.fetch_pending_propagations(FetchPending::first(500, 1)).await.unwrap();
        assert_eq!(page.entries.len(), 10);
        if fetch >= FETCHES / 10 {
            times.push(ms(started.elapsed()));
        }
    }
    let times = Figures::of(times);
    let late = format!("p99 {:.2} ms", times.quantile(0.99));
    report.line(&format!("10 open rows among {rows}, {name}"), "ms", &times, &late);
}
