//! `poc/up` with a stand-in for docker: what it would run in a peer's container is run here, with that
//! peer's secrets and a database in a file.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hmac_propagator_support::Scratch;

const DOCKER: &str = r#"#!/bin/bash
set -euo pipefail
here=$(dirname "$0")
if [ "$1 $2" = "compose up" ]; then
  exit 0
fi
[ "$1 $2 $3 $5" = "compose exec -T propagator" ]
peer=$4
shift 5
export AMQP_QUEUE=$peer PROPAGATION_SECRET_FILE=$here/secrets/${peer}_propagation
export DATABASE_URL=sqlite:$here/$peer.db DATABASE_KEY_FILE=$here/secrets/${peer}_database_key
exec "$PROPAGATOR" "$@"
"#;

struct Place(Scratch);

impl Place {
    fn new() -> Self {
        let place = Self(Scratch::new().unwrap());
        for script in ["up", "make-secrets"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
            std::fs::copy(from, place.path(script)).unwrap();
        }
        std::fs::write(place.path("docker"), DOCKER).unwrap();
        let executable = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(place.path("docker"), executable).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let binary = Path::new(env!("CARGO_BIN_EXE_poc")).with_file_name("propagator");
        let path = format!("{}:{}", self.0.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(self.path(program));
        let output = command.args(arguments).env("PATH", path).env("PROPAGATOR", binary).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// The directory of a peer: names, and whether they sign.
    fn targets(&self, peer: &str) -> Vec<(String, bool)> {
        let asking = ["compose", "exec", "-T", peer, "propagator", "targets", "list", "--json"];
        let output = self.run("docker", &asking);
        let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let targets = listed["targets"].as_array().unwrap().iter();
        let one = |target: &serde_json::Value| {
            let name = target["targetAmqpQueue"].as_str().unwrap().to_owned();
            (name, target["receiveOnly"] == false)
        };
        targets.map(one).collect()
    }
}

#[test]
fn up_has_the_full_peers_know_their_targets_and_may_be_called_again() {
    let place = Place::new();
    for _ in 0..2 {
        place.run("up", &[]);
        let known = [("billing", true), ("consumer", false), ("counter", true), ("orders", true)];
        let known = known.map(|(name, signs)| (name.to_owned(), signs));
        assert_eq!(place.targets("authority"), known);
        for full in ["orders", "billing"] {
            assert_eq!(place.targets(full), [("authority".to_owned(), true)]);
        }
    }
}
