//! What one event costs, counted and not timed: Redis commands and memory, transactions and bytes of
//! the database. `docs/scale.md` reckons with these figures.
//!
//! `cargo bench --bench cost --features sql`, on private servers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a measuring program")]
#![allow(unreachable_pub, dead_code, reason = "shares files with other benches")]

#[path = "../support/peers.rs"]
mod peers;
#[path = "../support/report.rs"]
mod report;

use hmac_propagator::management::sql::{NewTarget, SqlManagement};
use hmac_propagator_support::{Broker, Database as Schema, Redis, SqlKind, SqlServer};
use peers::Mesh;
use report::{Figures, Report};

const CREDENTIALS: usize = 2000;
const TARGETS: usize = 4;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let broker = Broker::start().await.unwrap();
    let server = SqlServer::start_durable(SqlKind::Postgres).await.unwrap();
    let database = server.database().await.unwrap();
    let management = SqlManagement::connect(&database.url()).await.unwrap();
    for target in 0..TARGETS {
        let name = peers::target_name(target);
        let target = NewTarget::new(peers::queue(&name), peers::secret(&name));
        management.add_target(target).await.unwrap();
    }
    let mesh = Mesh::start_with(&broker, TARGETS, management).await;
    let (source, targets) = mesh.redis();
    let mut report = Report::of("cost");

    let before = (Server::read(source).await, Database::read(&database).await);
    for credential in 0..CREDENTIALS {
        mesh.ensure(credential).await;
    }
    let after = (Server::read(source).await, Database::read(&database).await);
    let decisions = count(CREDENTIALS);
    after.0.lines(&mut report, "decision: the source's Redis", &before.0, decisions);
    after.1.lines(&mut report, "decision of 4 rows: PostgreSQL", &before.1, decisions);

    let before = (after, Server::read(targets[0]).await);
    mesh.sync(CREDENTIALS).await;
    let events = count(CREDENTIALS * TARGETS);
    let now = Server::read(source).await;
    now.lines(&mut report, "event: the source's Redis", &before.0.0, events);
    let now = Server::read(targets[0]).await;
    now.lines(&mut report, "event: the target's Redis", &before.1, count(CREDENTIALS));
    let now = Database::read(&database).await;
    now.lines(&mut report, "event: PostgreSQL", &before.0.1, events);
    report.end();
    mesh.close().await;
}

/// What a Redis server has done and holds.
struct Server {
    reads: f64,
    commands: f64,
    cpu_us: f64,
    bytes: f64,
}

impl Server {
    async fn read(redis: &Redis) -> Self {
        let info: String = redis.command(&["INFO", "everything"]).await.unwrap();
        let number = |name: &str| -> f64 {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{name}")).trim().parse().unwrap()
        };
        Self {
            reads: number("total_reads_processed:"),
            commands: number("total_commands_processed:"),
            cpu_us: 1e6 * (number("used_cpu_user:") + number("used_cpu_sys:")),
            bytes: number("used_memory_dataset:"),
        }
    }

    fn lines(&self, report: &mut Report, what: &str, before: &Self, events: f64) {
        let mut line = |name: &str, unit: &str, now: f64, then: f64| {
            let each = Figures::exactly((now - then) / events);
            report.line(&format!("{what}, {name}"), unit, &each, "");
        };
        line("round trips", "", self.reads, before.reads);
        line("commands", "", self.commands, before.commands);
        line("processor", "us", self.cpu_us, before.cpu_us);
        line("memory", "bytes", self.bytes, before.bytes);
    }
}

/// What a database has done and holds.
struct Database {
    transactions: f64,
    log: f64,
    size: f64,
}

impl Database {
    async fn read(database: &Schema) -> Self {
        // The counters of a session reach the view when it has nothing to do for a moment.
        database.execute("SELECT pg_stat_force_next_flush()").await.unwrap();
        let number = async |sql: &str| -> f64 {
            let text = database.execute(sql).await.unwrap();
            text.trim().parse().unwrap()
        };
        Self {
            transactions: number(
                "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()",
            )
            .await,
            log: number("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").await,
            size: number("SELECT pg_database_size(current_database())").await,
        }
    }

    fn lines(&self, report: &mut Report, what: &str, before: &Self, events: f64) {
        let mut line = |name: &str, unit: &str, now: f64, then: f64| {
            let each = Figures::exactly((now - then) / events);
            report.line(&format!("{what}, {name}"), unit, &each, "");
        };
        line("transactions", "", self.transactions, before.transactions);
        line("write-ahead log", "bytes", self.log, before.log);
        line("on disk", "bytes", self.size, before.size);
    }
}

#[allow(clippy::cast_precision_loss)]
fn count(number: usize) -> f64 {
    number as f64
}
