//! Every input of the corpora goes through what its fuzz target checks. The corpus of `config` is
//! replayed by a test of the command.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::path::Path;

use hmac_propagator::fuzzing;

fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{target}: {error}")) {
        let path = entry.unwrap().path();
        // With the output of a failure this names the input.
        println!("{}", path.display());
        check(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count >= 5, "{target}: a corpus of {count}");
}

#[test]
fn the_laws_of_messages_hold_for_the_corpus() {
    replay("wire", fuzzing::wire);
}

#[test]
fn the_laws_of_canonical_text_hold_for_the_corpus() {
    replay("canonical", fuzzing::canonical);
}

#[test]
fn the_laws_of_paths_hold_for_the_corpus() {
    replay("path", fuzzing::path);
}

#[test]
fn the_laws_of_address_rules_hold_for_the_corpus() {
    replay("ip", fuzzing::ip);
}

#[test]
fn the_laws_of_stored_records_hold_for_the_corpus() {
    replay("records", fuzzing::records);
}

#[test]
fn the_laws_of_signed_requests_hold_for_the_corpus() {
    replay("headers", fuzzing::headers);
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let names = |folder: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<_> = entries.map(|path| path.file_stem().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names("targets"), names("corpus"));
}
