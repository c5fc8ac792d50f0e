//! A file that says which port is listened on.

use std::fs;
use std::path::Path;

use crate::fault::Fault;

/// Writes it whole or not at all: who waits for the file must not read half a number.
pub(crate) fn write(file: &Path, port: u16) -> Result<(), Fault> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let written = fs::write(&beside, format!("{port}\n")).and_then(|()| fs::rename(&beside, file));
    written.map_err(|error| Fault::because(format!("cannot write {}", file.display()), error))
}
