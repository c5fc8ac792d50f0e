//! What ends the command early.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// A sentence for the user, and its cause. Never holds anything that was read.
#[derive(Debug)]
pub(crate) struct Fault {
    message: String,
    source: Option<Box<dyn Error>>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    pub(crate) fn because(message: impl Into<String>, source: impl Into<Box<dyn Error>>) -> Self {
        Self { message: message.into(), source: Some(source.into()) }
    }

    /// Says it on standard error, with all its causes.
    pub(crate) fn report(&self) -> ExitCode {
        let mut text = format!("propagator: {self}");
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        // Nobody is left to tell when this fails.
        let _ = writeln!(std::io::stderr(), "{text}");
        ExitCode::from(2)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref()
    }
}
