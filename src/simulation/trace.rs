//! What happened in a run, in order: always as a hash, on demand as text.

use std::fmt::{self, Write};

/// The trace of one run.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
    length: u64,
}

impl Trace {
    pub(super) fn new(keep: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: keep.then(Vec::new), length: 0 }
    }

    pub(super) fn note(&mut self, at_ms: u64, what: fmt::Arguments<'_>) {
        self.length += 1;
        // Writing into a hash has no way to fail.
        let _ = writeln!(Hashing(&mut self.hash), "{at_ms} {what}");
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>10}.{:03}  {what}", at_ms / 1000, at_ms % 1000));
        }
    }

    /// The hash of all that was noted. Two runs are the same run when it is equal.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn take_lines(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}

/// FNV-1a: no secret to keep here, and nothing to allocate.
struct Hashing<'a>(&'a mut u64);

impl Write for Hashing<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.0 = (*self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}
