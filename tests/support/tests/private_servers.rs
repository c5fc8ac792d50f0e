//! The binary that gives one set of servers to a whole run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use hmac_propagator_support::{SHARED_BROKER, Scratch, eventually};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const START: Duration = Duration::from_secs(100);
const BOUND: Duration = Duration::from_secs(10);

/// Runs a shell script with servers of its own, whose files are in `scratch`: a run that is killed
/// leaves them behind.
fn exec(script: &str, scratch: &Scratch) -> Child {
    Command::new(env!("CARGO_BIN_EXE_private-servers"))
        .args(["exec", "--", "/bin/sh", "-c", script])
        .env_remove(SHARED_BROKER)
        .env("TMPDIR", scratch.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn line(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let read = tokio::time::timeout(START, lines.next_line()).await;
    read.unwrap().unwrap().unwrap()
}

/// Every port that the printed line names: AMQP, management, epmd and Redis.
fn addresses(line: &str) -> Vec<SocketAddr> {
    let (broker, redis) = line.split_once(' ').unwrap();
    let redis = redis.trim_start_matches("redis://").trim_end_matches('/');
    let ports = broker.split(',').take(3);
    let broker = ports.map(|port| format!("127.0.0.1:{port}").parse().unwrap());
    broker.chain([redis.parse().unwrap()]).collect()
}

async fn listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_ok()
}

#[tokio::test]
async fn no_server_outlives_a_run_that_is_killed() {
    let scratch = Scratch::new().unwrap();
    // `cat` ends with this test, whatever becomes of its parent.
    let mut child = exec(r#"echo "$HMAC_TEST_BROKER $HMAC_TEST_REDIS_URL"; exec cat"#, &scratch);
    let addresses = addresses(&line(&mut child).await);
    assert_eq!(addresses.len(), 4);
    for address in &addresses {
        assert!(listens(*address).await);
    }
    child.kill().await.unwrap();
    for address in addresses {
        eventually(BOUND, || async move { (!listens(address).await).then_some(()) }).await;
    }
}

#[tokio::test]
async fn the_exit_code_is_that_of_the_command_and_no_server_outlives_it() {
    let scratch = Scratch::new().unwrap();
    let mut child = exec(r#"echo "$HMAC_TEST_BROKER $HMAC_TEST_REDIS_URL"; exit 7"#, &scratch);
    let addresses = addresses(&line(&mut child).await);
    let status = tokio::time::timeout(BOUND, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(7));
    for address in addresses {
        assert!(!listens(address).await);
    }
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}
