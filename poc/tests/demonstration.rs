//! The demonstration itself is a test: it ends with success only if every check held.

use std::process::Command;

#[test]
fn every_check_of_the_demonstration_holds() {
    let output = Command::new(env!("CARGO_BIN_EXE_poc")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("checks held") && !text.contains("FAIL"), "{text}");
}
