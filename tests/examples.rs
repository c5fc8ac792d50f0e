//! The examples, run as their comments say: a service, and a client that calls it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use hmac_propagator_support::Redis;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);

/// Cargo builds the examples together with the tests, beside them.
fn example(name: &str) -> Command {
    let mut place: PathBuf = std::env::current_exe().unwrap();
    place.pop();
    place.pop();
    let mut command = Command::new(place.join("examples").join(name));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

struct Service {
    lines: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Service {
    fn start(redis: &Redis) -> Self {
        let mut command = example("axum_server");
        command.env("REDIS_URL", redis.url()).env("ADDRESS", "127.0.0.1:0");
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { lines, _process: process }
    }

    /// What follows a text at the start of the next line.
    async fn says(&mut self, start: &str) -> String {
        let line = timeout(SOON, self.lines.next_line()).await.unwrap().unwrap().unwrap();
        let Some(rest) = line.strip_prefix(start) else { panic!("{line:?} instead of {start:?}") };
        rest.to_owned()
    }
}

async fn call(address: &str, secret: &str) -> String {
    let mut command = example("signed_client");
    command.env("URL", format!("{address}/echo?of=hello")).env("SECRET", secret);
    let Output { status, stdout, .. } = timeout(SOON, command.output()).await.unwrap().unwrap();
    assert!(status.success());
    String::from_utf8(stdout).unwrap()
}

#[tokio::test]
async fn the_service_lets_the_client_in_with_the_secret_that_it_shows_once() {
    let redis = Redis::start().await.unwrap();
    let mut service = Service::start(&redis);
    let secret = service.says("the secret of the client demo: ").await;
    let address = service.says("listening on ").await;
    assert_eq!(call(&address, &secret).await, "200 OK\ndemo says hello\n");
    let refused = call(&address, "not the secret").await;
    assert!(refused.starts_with("401 Unauthorized\n"), "{refused}");
    assert!(refused.contains("BAD_SIGNATURE"), "{refused}");

    let mut again = Service::start(&redis);
    again.says("the client demo has its secret already").await;
    let address = again.says("listening on ").await;
    assert_eq!(call(&address, &secret).await, "200 OK\ndemo says hello\n");
}
