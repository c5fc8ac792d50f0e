//! What ends the command early.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// With what code the command ends. The commands that need neither broker nor database know wrong
/// usage only.
#[cfg_attr(not(feature = "sidecar"), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// What was asked for did not come about, or a check found something.
    Problems = 1,
    /// The command line, the configuration or an input is not usable.
    Usage = 2,
    /// Broker, database or Redis cannot be reached.
    Unreachable = 3,
    /// There is no such client or target.
    Unknown = 4,
    /// What is there does not allow it.
    Refused = 5,
    /// SIGINT or SIGTERM while waiting.
    Interrupted = 130,
}

/// A sentence for the user, and its cause. Never holds anything that was read.
#[derive(Debug)]
pub(crate) struct Fault {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    exit: Exit,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None, exit: Exit::Usage }
    }

    pub(crate) fn because(
        message: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { message: message.into(), source: Some(source.into()), exit: Exit::Usage }
    }

    /// Ends with another code than that of wrong usage.
    #[cfg_attr(not(feature = "sidecar"), allow(dead_code))]
    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// What happened, with all its causes.
    pub(crate) fn explained(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }

    /// Says it on standard error.
    pub(crate) fn report(&self) -> ExitCode {
        let text = format!("propagator: {}", self.explained());
        // Nobody is left to tell when this fails.
        let _ = writeln!(std::io::stderr(), "{text}");
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(feature = "sidecar")]
impl From<crate::config::Problems> for Fault {
    fn from(problems: crate::config::Problems) -> Self {
        Self::new(problems.to_string())
    }
}
