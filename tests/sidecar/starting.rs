//! `--check`, the port, and what keeps a peer from starting.

use crate::process::{Mesh, NOWHERE, Spec};

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

async fn run(spec: &Spec, arguments: &[&str]) -> Ran {
    let output = spec.command().args(arguments).output();
    let output = tokio::time::timeout(crate::process::SOON, output).await.unwrap().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_where_values_come_from_and_hides_secrets() {
    let mesh = Mesh::new().await;
    let spec = mesh.full("authority").await;
    let ran = run(&spec, &["--check"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("AMQP_QUEUE = authority (environment)"), "{}", ran.stdout);
    assert!(ran.stdout.contains("ADMIN_TOKEN = (hidden) (environment)"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("the configuration is usable\n"));
    for key in ["ADMIN_TOKEN", "AMQP_PASSWORD", "PROPAGATION_SECRET", "HMAC_SECRET_TOKEN"] {
        assert!(!ran.stdout.contains(&spec.environment[key]), "{key}");
    }
    // Nothing was started: the database was not made.
    assert!(!spec.scratch.path().join("peer.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_refused_with_its_keys() {
    let mesh = Mesh::new().await;
    let spec = mesh.receive_only("orders").await;
    let spec = spec.set("PORT", "x").set("HOST", "0.0.0.0").without("ADMIN_TOKEN");
    for arguments in [&["--check"][..], &[]] {
        let ran = run(&spec, arguments).await;
        assert_eq!(ran.code, Some(2));
        for key in ["PORT", "ADMIN_TOKEN"] {
            assert!(ran.stderr.contains(key), "{}", ran.stderr);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_that_was_free_is_told() {
    let mesh = Mesh::new().await;
    let peer = mesh.receive_only("orders").await.start().await;
    peer.get("/health").await.is(200);
    let line = format!("listening on {}\n", peer.url);
    assert!(peer.said.text().contains(&line), "{}", peer.said.text());
    assert_ne!(peer.url, "http://127.0.0.1:0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_and_an_absent_database_end_it_with_their_codes() {
    let mesh = Mesh::new().await;
    let first = mesh.receive_only("orders").await.start().await;
    let port = first.url.rsplit(':').next().unwrap().to_owned();
    let second = mesh.receive_only("orders").await.set("PORT", port);
    let ran = run(&second, &[]).await;
    assert_eq!(ran.code, Some(5), "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot listen on 127.0.0.1"), "{}", ran.stderr);

    let url = format!("postgres://someone:pa55word@{NOWHERE}/credentials");
    let absent = mesh.receive_only("orders").await.set("DATABASE_URL", url);
    let ran = run(&absent, &[]).await;
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(!ran.stderr.contains("pa55word"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_broker_and_redis_it_starts_and_says_so() {
    let spec = Spec::new("orders", &format!("amqp://user:password@{NOWHERE}/vhost")).await;
    let peer = spec.set("REDIS_URL", format!("redis://{NOWHERE}/")).start().await;
    peer.get("/health").await.is(200);
    let missing = peer.get("/health/ready").await.is(503)["missing"].clone();
    assert_eq!(missing, serde_json::json!(["publisher", "consumer", "redis"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unit_file_names_what_there_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/propagator.service");
    let unit = std::fs::read_to_string(path).unwrap();
    let mesh = Mesh::new().await;
    let help = run(&mesh.receive_only("orders").await, &["--help"]).await.stdout;
    let lines = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    let variables: Vec<_> = lines.flat_map(|line| line.split(' ')).collect();
    assert_eq!(variables.len(), 4, "{variables:?}");
    for variable in variables {
        let (name, value) = variable.split_once('=').unwrap();
        assert!(help.contains(name), "{name}");
        let credential = value.strip_prefix("%d/").unwrap();
        assert!(unit.contains(&format!("LoadCredential={credential}:")), "{credential}");
    }
    for line in unit.lines().filter(|line| line.starts_with("Exec")) {
        assert!(line.contains("propagator serve"), "{line}");
        assert!(!line.contains("--check") || help.contains("--check"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told() {
    let mesh = Mesh::new().await;
    let spec = mesh.receive_only("orders").await;
    let path = spec.scratch.path().join("notify");
    let socket = tokio::net::UnixDatagram::bind(&path).unwrap();
    let spec = spec.set("NOTIFY_SOCKET", path.display().to_string()).set("WATCHDOG_USEC", "300000");
    let mut peer = spec.start().await;
    let told = async |word: &str| {
        let mut seen = String::new();
        while !seen.contains(word) {
            let mut bytes = [0; 1000];
            let received = tokio::time::timeout(crate::process::SOON, socket.recv(&mut bytes));
            let length = received.await.unwrap_or_else(|_| panic!("no {word} in {seen}")).unwrap();
            seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    };
    told("READY=1").await;
    told("WATCHDOG=1").await;
    peer.signal("-TERM");
    told("STOPPING=1").await;
    assert_eq!(peer.ended().await, Some(0));
}
