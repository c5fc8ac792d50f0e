//! The scenario is a test: it ends with success only if every check held.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

#[test]
fn every_check_of_the_scenario_holds() {
    let output = Command::new(env!("CARGO_BIN_EXE_poc")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("checks held") && !text.contains("FAIL"), "{text}");
}

/// With what it prints, an operator gets in; and the signal that ends the wait ends it well.
#[test]
fn a_mesh_that_is_kept_says_how_to_get_in_and_stops_in_good_order() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_poc"));
    let mut kept = Kept(command.arg("--keep").stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(kept.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut seen = Vec::new();
    // Ends at the latest when the process does.
    let state = lines.by_ref().inspect(|line| seen.push(line.clone())).find_map(|line| {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        (words.first()? == "curl" && words.last()?.ends_with("/admin/state")).then_some(words)
    });
    let Some(state) = state else { panic!("it did not invite:\n{}", seen.join("\n")) };
    let answer = Command::new(&state[0]).args(&state[1..]).output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    let clients = answer["credentials"].as_array().unwrap();
    assert!(clients.iter().any(|one| one["clientId"] == "mobile-app"), "{answer}");
    assert_eq!(answer["targets"].as_array().unwrap().len(), 3, "{answer}");

    let script = format!("kill -INT {}", kept.0.id());
    assert!(Command::new("/bin/sh").args(["-c", &script]).status().unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert!(kept.0.wait().unwrap().success(), "{}\n{}", seen.join("\n"), rest.join("\n"));
    assert!(rest.iter().any(|line| line.contains("every peer ended with exit code 0")));
}

/// A mesh that would stay up for ever must not outlive a test that fails.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        // It has ended already, unless something failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
