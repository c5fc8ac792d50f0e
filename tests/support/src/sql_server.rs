use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::error::{Context, Error, Result};
use crate::ports::{free_ports, token};
use crate::process::{Process, Program, find, give_away, wait_for_end};
use crate::scratch::Scratch;

const START: Duration = Duration::from_secs(60);

/// Which database server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlKind {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    MariaDb,
}

/// A database server. One serves all tests of a run; each test makes [databases](Self::database) of
/// its own in it.
pub struct SqlServer {
    kind: SqlKind,
    /// Of the user that may create databases, ending with the server's address.
    base: String,
    private: Option<Private>,
}

struct Private {
    durable: bool,
    // Above the directory: the server ends before its files go.
    process: Mutex<Option<Process>>,
    port: u16,
    scratch: Scratch,
}

/// A database of one test. It goes with the value.
pub struct Database {
    kind: SqlKind,
    base: String,
    name: String,
}

impl SqlKind {
    /// The environment variable that names a server to use instead of a private one, for example
    /// `postgres://postgres@127.0.0.1:5432`, with a user that may create databases.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "HMAC_TEST_POSTGRES_URL",
            Self::MariaDb => "HMAC_TEST_MYSQL_URL",
        }
    }
}

impl SqlServer {
    /// The server that the environment names, or else one of its own.
    ///
    /// # Errors
    ///
    /// When it is not installed or does not start.
    pub async fn start(kind: SqlKind) -> Result<Self> {
        match std::env::var(kind.variable()) {
            Ok(url) => Ok(Self { kind, base: url.trim_end_matches('/').to_owned(), private: None }),
            Err(_) => Self::start_private(kind).await,
        }
    }

    /// A server that only the caller uses.
    ///
    /// # Errors
    ///
    /// When it is not installed or does not start.
    pub async fn start_private(kind: SqlKind) -> Result<Self> {
        Self::start_with(kind, false).await
    }

    /// As [`start_private`](Self::start_private), with every commit on the disk before it counts, as
    /// in earnest: for measuring.
    ///
    /// # Errors
    ///
    /// When it is not installed or does not start.
    pub async fn start_durable(kind: SqlKind) -> Result<Self> {
        Self::start_with(kind, true).await
    }

    async fn start_with(kind: SqlKind, durable: bool) -> Result<Self> {
        let mut last = None;
        // Another process may take a free port between the look and the start.
        for _ in 0..3 {
            let [port] = free_ports()?;
            let scratch = Scratch::new()?;
            let private = Private { durable, process: Mutex::new(None), port, scratch };
            give_away(private.scratch.path())?;
            let base = match kind {
                SqlKind::Postgres => format!("postgres://postgres@127.0.0.1:{port}"),
                SqlKind::MariaDb => format!("mysql://root@127.0.0.1:{port}"),
            };
            let server = Self { kind, base, private: Some(private) };
            server.initialise().await?;
            match server.restart().await {
                Ok(()) => return Ok(server),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::new("the database server was not started")))
    }

    /// What to set the kind's [variable](SqlKind::variable) to, for other processes.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Where it listens, for a proxy.
    ///
    /// # Errors
    ///
    /// When its URL has no address and port.
    pub fn address(&self) -> Result<SocketAddr> {
        let address = self.base.rsplit_once('@').map_or("", |(_, address)| address);
        address.parse().context(format_args!("address of {:?}", self.kind))
    }

    /// An empty database.
    ///
    /// # Errors
    ///
    /// When the server is away or refuses it.
    pub async fn database(&self) -> Result<Database> {
        let name = format!("hmac_test_{}", token());
        let creating = client(self.kind, &self.base, &format!("CREATE DATABASE {name}"))?;
        run(creating).await?;
        Ok(Database { kind: self.kind, base: self.base.clone(), name })
    }

    /// Ends a private server with SIGKILL.
    ///
    /// # Errors
    ///
    /// When it is not a private one or not running.
    pub async fn kill(&self) -> Result<()> {
        let process = self.private()?.process.lock().await.take();
        let process = process.ok_or_else(|| Error::new("the database server is not running"))?;
        // Its children outlive it for a moment, and as long as they do it cannot be started again.
        let children = process.children();
        process.kill().await?;
        wait_for_end(&children, START).await
    }

    /// Starts a private server again after [`kill`](Self::kill), with its data.
    ///
    /// # Errors
    ///
    /// When it is not a private one, is running, or does not start.
    pub async fn restart(&self) -> Result<()> {
        let private = self.private()?;
        let mut slot = private.process.lock().await;
        if slot.is_some() {
            return Err(Error::new("the database server is running already"));
        }
        let mut process = Process::start(&private.server(self.kind)?).await?;
        let ready = process.wait_until_ready(START, || async {
            match client(self.kind, &self.base, "SELECT 1") {
                Ok(asking) => run(asking).await.is_ok(),
                Err(_) => false,
            }
        });
        ready.await.context(format_args!("{:?}", self.kind))?;
        *slot = Some(process);
        Ok(())
    }

    async fn initialise(&self) -> Result<()> {
        let program = self.private()?.initialiser(self.kind)?;
        Process::run(&program, START).await.context(format_args!("making a {:?}", self.kind))
    }

    fn private(&self) -> Result<&Private> {
        self.private.as_ref().ok_or_else(|| Error::new("the database server is not a private one"))
    }
}

impl Private {
    fn data(&self) -> String {
        self.scratch.path().join("data").display().to_string()
    }

    fn program(&self, path: PathBuf, arguments: Vec<String>) -> Program {
        Program {
            path,
            arguments,
            environment: vec![("TMPDIR", self.scratch.path().display().to_string())],
            directory: self.scratch.path().to_owned(),
            output: self.scratch.path().join("output"),
            unprivileged: true,
            farewell: None,
        }
    }

    fn initialiser(&self, kind: SqlKind) -> Result<Program> {
        let data = self.data();
        Ok(match kind {
            SqlKind::Postgres => {
                let words = [
                    "--pgdata",
                    &data,
                    "--username",
                    "postgres",
                    "--auth",
                    "trust",
                    "--no-sync",
                    "--encoding",
                    "UTF8",
                    "--locale",
                    "C.UTF-8",
                ];
                self.program(postgres("initdb")?, words.map(str::to_owned).into())
            }
            SqlKind::MariaDb => {
                let data = format!("--datadir={data}");
                let words = [
                    "--no-defaults",
                    &data,
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                ];
                let path = find("mariadb-install-db", &["/usr/bin"], "mariadb-server")?;
                self.program(path, words.map(str::to_owned).into())
            }
        })
    }

    fn server(&self, kind: SqlKind) -> Result<Program> {
        let (data, port) = (self.data(), self.port);
        Ok(match kind {
            SqlKind::Postgres => {
                let mut arguments = vec!["-D".to_owned(), data];
                let settings = [
                    format!("port={port}"),
                    "listen_addresses=127.0.0.1".into(),
                    "unix_socket_directories=".into(),
                    "max_connections=300".into(),
                    // The processes are killed in tests, the machine is not.
                    format!("fsync={}", if self.durable { "on" } else { "off" }),
                    "dynamic_shared_memory_type=mmap".into(),
                ];
                arguments.extend(settings.into_iter().flat_map(|set| ["-c".into(), set]));
                let program = self.program(postgres("postgres")?, arguments);
                // Otherwise its shared memory stays behind.
                Program { farewell: Some("QUIT"), ..program }
            }
            SqlKind::MariaDb => {
                let socket = self.scratch.path().join("socket");
                let arguments = vec![
                    "--no-defaults".into(),
                    format!("--datadir={data}"),
                    format!("--port={port}"),
                    "--bind-address=127.0.0.1".into(),
                    format!("--socket={}", socket.display()),
                    "--skip-name-resolve".into(),
                    "--max-connections=300".into(),
                    "--innodb-buffer-pool-size=256M".into(),
                    format!(
                        "--innodb-flush-log-at-trx-commit={}",
                        if self.durable { 1 } else { 2 }
                    ),
                ];
                self.program(find("mariadbd", &["/usr/sbin"], "mariadb-server")?, arguments)
            }
        })
    }
}

impl Database {
    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/{}", self.base, self.name)
    }

    /// The URL for clients that go through a proxy.
    #[must_use]
    pub fn url_via(&self, address: SocketAddr) -> String {
        let user = self.base.rsplit_once('@').map_or("", |(user, _)| user);
        format!("{user}@{address}/{}", self.name)
    }

    /// Runs statements on a connection of its own, separated by `;`. Answers the rows: lines with
    /// a tab (MariaDB) or `|` (PostgreSQL) between columns.
    ///
    /// # Errors
    ///
    /// When the server is away or refuses a statement.
    pub async fn execute(&self, sql: &str) -> Result<String> {
        run(client(self.kind, &self.url(), sql)?).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server that is gone has taken the database with it.
        let ask = |sql: &str| client(self.kind, &self.base, sql).ok()?.output().ok();
        let name = &self.name;
        match self.kind {
            SqlKind::Postgres => {
                ask(&format!("DROP DATABASE {name} WITH (FORCE)"));
            }
            SqlKind::MariaDb => {
                // Connections of this process cannot end by themselves while it waits here.
                let connections = format!(
                    "SELECT CONCAT('KILL ', id, ';') FROM information_schema.processlist \
                     WHERE db = '{name}'"
                );
                let kills = ask(&connections).map(|output| output.stdout).unwrap_or_default();
                ask(&format!("{} SELECT 1", String::from_utf8_lossy(&kills)));
                ask(&format!("SET STATEMENT lock_wait_timeout = 5 FOR DROP DATABASE {name}"));
            }
        }
    }
}

fn postgres(program: &str) -> Result<PathBuf> {
    // Debian keeps each major version apart and these programs out of the path.
    let versions = (13..=20).rev().map(|major| format!("/usr/lib/postgresql/{major}/bin"));
    let directories: Vec<String> = versions.collect();
    let directories: Vec<&str> = directories.iter().map(String::as_str).collect();
    find(program, &directories, "postgresql")
}

/// The server's own command-line client.
fn client(kind: SqlKind, url: &str, sql: &str) -> Result<Command> {
    let mut command;
    match kind {
        SqlKind::Postgres => {
            let has_name = url.rsplit_once('@').is_some_and(|(_, rest)| rest.contains('/'));
            let url = if has_name { url.to_owned() } else { format!("{url}/postgres") };
            command = Command::new(find("psql", &["/usr/bin"], "postgresql-client")?);
            command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]);
            command.args(["--set", "ON_ERROR_STOP=1", "--command", sql, &url]);
        }
        SqlKind::MariaDb => {
            let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
            let (login, place) = rest.rsplit_once('@').unwrap_or(("root", rest));
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            let (address, name) = place.split_once('/').unwrap_or((place, ""));
            let (host, port) = address.split_once(':').unwrap_or((address, "3306"));
            command = Command::new(find("mariadb", &["/usr/bin"], "mariadb-client")?);
            command.args(["--no-defaults", "--batch", "--skip-column-names", "--protocol=tcp"]);
            command.args(["--default-character-set=utf8mb4", "-h", host, "-P", port, "-u", user]);
            command.args(["--execute", sql]).env("MYSQL_PWD", password);
            // An empty name would count as one.
            if !name.is_empty() {
                command.arg(name);
            }
        }
    }
    Ok(command)
}

async fn run(command: Command) -> Result<String> {
    let output = tokio::process::Command::from(command).kill_on_drop(true).output();
    let output = tokio::time::timeout(START, output).await.context("a database client")?;
    let output = output.context("a database client")?;
    if !output.status.success() {
        return Err(Error::new(String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn a_database_keeps_its_data_over_a_kill(kind: SqlKind) {
        let server = SqlServer::start_private(kind).await.unwrap();
        let database = server.database().await.unwrap();
        database.execute("CREATE TABLE t (a INT); INSERT INTO t VALUES (7)").await.unwrap();
        server.kill().await.unwrap();
        assert!(database.execute("SELECT a FROM t").await.is_err());
        server.restart().await.unwrap();
        assert_eq!(database.execute("SELECT a FROM t").await.unwrap(), "7");
    }

    #[tokio::test]
    async fn a_postgres_database_keeps_its_data_over_a_kill() {
        a_database_keeps_its_data_over_a_kill(SqlKind::Postgres).await;
    }

    #[tokio::test]
    async fn a_mariadb_database_keeps_its_data_over_a_kill() {
        a_database_keeps_its_data_over_a_kill(SqlKind::MariaDb).await;
    }
}
