//! Runs a command while a private RabbitMQ node and a private Redis are up; with `--databases`, a
//! private PostgreSQL and a private MariaDB too.
//!
//! `private-servers exec [--databases] -- COMMAND ARGUMENTS...` sets these variables for the command:
//!
//! | variable | meaning |
//! |---|---|
//! | `HMAC_TEST_BROKER` | the node, for `Broker::start` |
//! | `HMAC_TEST_AMQP_URL` | its virtual host `hmac-credentials` |
//! | `HMAC_TEST_REDIS_URL` | the Redis |
//! | `HMAC_TEST_POSTGRES_URL`, `HMAC_TEST_MYSQL_URL` | the database servers, unless set already |
//!
//! It ends with the command's exit code (128 and the signal's number when a signal ended it), or
//! with 125 when the servers or the command could not be started.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use hmac_propagator_support::{Broker, Error, Redis, SHARED_BROKER, SqlKind, SqlServer};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

const NOT_STARTED: u8 = 125;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (databases, program, rest) = match &words[..] {
        ["exec", "--databases", "--", program, rest @ ..] => (true, *program, rest),
        ["exec", "--", program, rest @ ..] => (false, *program, rest),
        _ => return usage(),
    };
    match run(program, rest, databases).await {
        Ok(status) => ExitCode::from(code(status)),
        Err(error) => {
            eprintln!("private-servers: {error}");
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: private-servers exec [--databases] -- COMMAND ARGUMENTS...");
    ExitCode::from(NOT_STARTED)
}

async fn run(
    program: &str,
    arguments: &[&str],
    databases: bool,
) -> Result<ExitStatus, Box<dyn std::error::Error>> {
    // Before anything is started, so that no signal ends this process without its cleaning up.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let starting = async {
        let (broker, redis, databases) =
            tokio::try_join!(Broker::start_private(), Redis::start(), start_databases(databases))?;
        let vhost = broker.vhost_named("hmac-credentials").await?;
        Ok::<_, Error>((broker, redis, databases, vhost))
    };
    let (broker, redis, databases, vhost) = tokio::select! {
        started = starting => started?,
        _ = interrupt.recv() => return Err("interrupted".into()),
        _ = terminate.recv() => return Err("terminated".into()),
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env(SHARED_BROKER, broker.variable())
        .env("HMAC_TEST_AMQP_URL", vhost.url())
        .env("HMAC_TEST_REDIS_URL", redis.url())
        .envs(databases.iter().map(|(kind, server)| (kind.variable(), server.url())))
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            // The terminal has sent it to the command as well, which decides what to do.
            _ = interrupt.recv() => {}
            _ = terminate.recv() => pass_on_terminate(&child).await?,
        }
    }
}

async fn start_databases(wanted: bool) -> Result<Vec<(SqlKind, SqlServer)>, Error> {
    if !wanted {
        return Ok(Vec::new());
    }
    let (postgres, maria) =
        tokio::try_join!(SqlServer::start(SqlKind::Postgres), SqlServer::start(SqlKind::MariaDb))?;
    Ok(vec![(SqlKind::Postgres, postgres), (SqlKind::MariaDb, maria)])
}

async fn pass_on_terminate(child: &Child) -> std::io::Result<()> {
    let Some(pid) = child.id() else { return Ok(()) };
    Command::new("/bin/sh").args(["-c", &format!("kill -TERM {pid}")]).status().await?;
    Ok(())
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_STARTED)
}
