//! Tells whoever waits how it goes, on standard error.

use std::io::{IsTerminal, Write};

/// One line that is written over on a terminal; elsewhere a line per change.
pub(super) struct Progress {
    terminal: bool,
    last: String,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last: String::new() }
    }

    pub(super) fn say(&mut self, text: String) {
        if text == self.last {
            return;
        }
        // Nobody is left to tell when this fails.
        let _ = if self.terminal {
            write!(std::io::stderr(), "\r\u{1b}[K{text}")
        } else {
            writeln!(std::io::stderr(), "propagator: {text}")
        };
        self.last = text;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal && !self.last.is_empty() {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}
