//! The compose file: compose accepts it, it exposes nothing, and what it tells each container makes a
//! peer. No container is started here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use hmac_propagator_support::Scratch;
use yaml_rust2::{Yaml, YamlLoader};

const PEERS: [&str; 4] = ["authority", "consumer", "orders", "billing"];
const SERVICE: &str = "counter";

fn poc(file: &str) -> String {
    format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))
}

/// `docker compose` or, where that is not there, `docker-compose`; neither needs an engine for this.
fn compose(arguments: &[&str]) -> Output {
    let plugin = Command::new("docker").args(["compose", "version"]).output();
    let mut command = if plugin.is_ok_and(|output| output.status.success()) {
        let mut docker = Command::new("docker");
        docker.arg("compose");
        docker
    } else {
        Command::new("docker-compose")
    };
    let run = command.args(["-f", &poc("docker-compose.yml")]).args(arguments).output();
    run.expect("compose is not installed: tests/setup does it")
}

/// The file as compose understands it, with all that is merged into it.
fn config() -> Yaml {
    let output = compose(&["config"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    YamlLoader::load_from_str(&text).unwrap().remove(0)
}

fn names(of: &Yaml) -> Vec<String> {
    of.as_hash().unwrap().keys().map(|key| key.as_str().unwrap().to_owned()).collect()
}

fn text(of: &Yaml) -> String {
    match of {
        Yaml::Integer(number) => number.to_string(),
        other => other.as_str().unwrap().to_owned(),
    }
}

fn environment(service: &Yaml) -> BTreeMap<String, String> {
    let variables = service["environment"].as_hash().unwrap();
    variables.iter().map(|(name, value)| (text(name), text(value))).collect()
}

/// As `poc/make-secrets` makes them.
fn secrets() -> Scratch {
    let scratch = Scratch::new().unwrap();
    make_secrets(scratch.path());
    scratch
}

fn make_secrets(directory: &Path) {
    let made = Command::new(poc("make-secrets")).arg(directory).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn compose_accepts_the_mesh_and_every_container_has_a_health_check() {
    let config = config();
    let services = names(&config["services"]);
    for name in PEERS.into_iter().chain([SERVICE]) {
        assert!(services.contains(&name.to_owned()), "{services:?}");
        assert!(services.contains(&format!("redis-{name}")), "{services:?}");
    }
    assert_eq!(services.len(), 2 * 5 + 2, "{services:?}");
    let dockerfile = std::fs::read_to_string(poc("Dockerfile")).unwrap();
    assert!(dockerfile.contains("\nHEALTHCHECK ") && dockerfile.contains("\nUSER 65532:65532\n"));
    for name in &services {
        let service = &config["services"][name.as_str()];
        // What is built here has that of its image.
        assert!(service["build"].is_hash() || service["healthcheck"].is_hash(), "{name}");
    }
}

#[test]
fn nothing_but_http_is_seen_outside_and_that_on_loopback_only() {
    let config = config();
    for name in names(&config["services"]) {
        let service = &config["services"][name.as_str()];
        assert!(service["network_mode"].is_badvalue() && service["privileged"].is_badvalue());
        let ports = service["ports"].as_vec().map(Vec::as_slice).unwrap_or_default();
        let is_ours = PEERS.contains(&name.as_str()) || name == SERVICE;
        assert_eq!(ports.len(), usize::from(is_ours), "{name}");
        for port in ports {
            // The two generations of compose write it as a text and as a mapping.
            let on_loopback = match port {
                Yaml::String(text) => text.starts_with("127.0.0.1:"),
                mapping => mapping["host_ip"].as_str() == Some("127.0.0.1"),
            };
            assert!(on_loopback, "{name}: {port:?}");
        }
    }
}

#[test]
fn every_secret_is_mounted_from_a_file_that_the_script_makes() {
    let (config, made) = (config(), secrets());
    let listed = names(&config["secrets"]);
    let file = |name: &str| std::fs::read_to_string(made.path().join(name)).unwrap();
    for name in &listed {
        assert!(!file(name).trim().is_empty(), "{name}");
    }
    for name in names(&config["services"]) {
        let service = &config["services"][name.as_str()];
        let mounted = service["secrets"].as_vec().map(Vec::as_slice).unwrap_or_default();
        let mounted: Vec<&str> = mounted
            .iter()
            .map(|secret| secret.as_str().or(secret["source"].as_str()).unwrap())
            .collect();
        assert!(mounted.iter().all(|secret| listed.contains(&(*secret).to_owned())), "{name}");
        if service["environment"].is_badvalue() {
            continue;
        }
        for (variable, value) in environment(service) {
            match value.strip_prefix("/run/secrets/") {
                Some(secret) => assert!(mounted.contains(&secret), "{name}: {variable}"),
                None => assert!(!is_secret(&variable, &value), "{name}: {variable}"),
            }
        }
    }
}

fn is_secret(variable: &str, value: &str) -> bool {
    let marks = ["PASSWORD", "SECRET", "TOKEN", "_KEY", "REDIS_URL"];
    marks.iter().any(|mark| variable.contains(mark)) || value.contains('@')
}

#[test]
fn secrets_differ_and_stay_and_only_their_owner_gets_to_them() {
    let made = secrets();
    let read = || -> BTreeMap<_, _> {
        let files = std::fs::read_dir(made.path()).unwrap().map(|entry| entry.unwrap().path());
        files.map(|file| (file.clone(), std::fs::read_to_string(file).unwrap())).collect()
    };
    let first = read();
    let mut values: Vec<&String> = first.values().collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), first.len());
    make_secrets(made.path());
    assert_eq!(read(), first);
    let mode = std::fs::metadata(made.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn what_each_container_is_told_makes_a_peer() {
    let (config, made) = (config(), secrets());
    let binary = Path::new(env!("CARGO_BIN_EXE_poc")).with_file_name("propagator");
    assert!(binary.is_file(), "cargo build --workspace --all-features --bins");
    for name in PEERS {
        let variables = environment(&config["services"][name]);
        let here = made.path().display().to_string();
        let variables =
            variables.into_iter().map(|(name, value)| (name, value.replace("/run/secrets", &here)));
        let mut command = Command::new(&binary);
        let checked = command.args(["serve", "--check"]).env_clear().envs(variables).output();
        let checked = checked.unwrap();
        let output = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stderr));
        assert!(output.contains(&format!("AMQP_QUEUE = {name} ")), "{output}");
        let decides = output.contains("DATABASE_URL = (hidden) (environment)");
        assert_eq!(decides, name != "consumer", "{output}");
    }
}
