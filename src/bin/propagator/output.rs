//! What is printed.

use std::io::Write;

use serde_json::Value;

use crate::fault::Fault;

/// One JSON value on one line.
pub(crate) fn json(value: &Value) -> Result<(), Fault> {
    line(&value.to_string())
}

/// One line.
pub(crate) fn line(text: &str) -> Result<(), Fault> {
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    written.map_err(|error| Fault::because("cannot write to standard output", error))
}
