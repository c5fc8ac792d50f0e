//! `propagator health`, which containers ask: the same configuration as the peer's, another process.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::process::{Command, Output};

use poc::mesh::{CONSUMER, Mesh, SOON};
use poc::within;

fn health(port: &str, arguments: &[&str]) -> Output {
    let binary = Path::new(env!("CARGO_BIN_EXE_poc")).with_file_name("propagator");
    let mut command = Command::new(binary);
    command.arg("health").args(arguments).env_clear();
    // It listens everywhere, as in a container.
    command.envs([("HOST", "0.0.0.0"), ("PORT", port), ("AMQP_QUEUE", CONSUMER)]);
    command.env("PROPAGATION_SECRET", "not needed here").output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_whether_a_peer_can_do_its_work_and_what_it_lacks() {
    let mut mesh = Mesh::start(&[CONSUMER]).await.unwrap();
    let url = mesh.url(CONSUMER).unwrap();
    let port = url.rsplit(':').next().unwrap();
    let ready = health(port, &[]);
    let said = String::from_utf8_lossy(&ready.stdout);
    assert!(ready.status.success() && said.contains("200"), "{ready:?}");

    mesh.redis(CONSUMER).unwrap().kill().await.unwrap();
    let lacks = within(SOON, || {
        let asked = health(port, &[]);
        let said = String::from_utf8_lossy(&asked.stderr);
        std::future::ready(asked.status.code() == Some(1) && said.contains("missing: redis"))
    });
    assert!(lacks.await);
    assert!(health(port, &["--alive"]).status.success());

    mesh.stop_peer(CONSUMER).await.unwrap();
    let gone = health(port, &["--alive"]);
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
    assert!(String::from_utf8_lossy(&gone.stderr).contains("no answer"), "{gone:?}");
    assert_eq!(health("0", &[]).status.code(), Some(2));
}
