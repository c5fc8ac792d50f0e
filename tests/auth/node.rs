//! One Node process that answers a batch of questions.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

/// What Node answered: the value, or the name of the error it threw.
pub(crate) type Answer = Result<Value, String>;

/// Asks all questions in order. Fails the test when Node is missing or answers too little.
pub(crate) fn ask(questions: &[Value]) -> Vec<Answer> {
    ask_in("C", questions)
}

/// [`ask`] for a Node process of a POSIX locale, for example `sv_SE.UTF-8`.
pub(crate) fn ask_in(locale: &str, questions: &[Value]) -> Vec<Answer> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth/oracle.mjs");
    let mut node = Command::new("node")
        .arg(script)
        .env("LC_ALL", locale)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs `node` on the PATH");
    let mut input = node.stdin.take().unwrap();
    let mut lines: Vec<u8> = Vec::new();
    for question in questions {
        serde_json::to_writer(&mut lines, question).unwrap();
        lines.push(b'\n');
    }
    // Written from another thread: both pipes are smaller than the batch.
    let writer = thread::spawn(move || input.write_all(&lines));
    let mut output = String::new();
    node.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    let status = node.wait().unwrap();
    writer.join().unwrap().unwrap();
    assert!(status.success(), "node ended with {status}");
    let answers: Vec<Answer> = output.lines().map(answer).collect();
    assert_eq!(answers.len(), questions.len(), "node left questions unanswered");
    answers
}

fn answer(line: &str) -> Answer {
    let mut answer: Value = serde_json::from_str(line).unwrap();
    match answer.get("error") {
        Some(error) => Err(error.as_str().unwrap().to_owned()),
        None => Ok(answer["ok"].take()),
    }
}
