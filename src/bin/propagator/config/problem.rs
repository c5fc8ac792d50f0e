//! What is wrong with a configuration: everything at once, and no value of it.

use std::fmt;
use std::path::PathBuf;

use super::keys::Key;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File(PathBuf),
    Environment,
    Flag,
}

/// All that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

impl Problems {
    /// A key whose value is not what the table says.
    pub(super) fn wrong(&mut self, key: &Key, source: &Source) {
        self.about(key, source, format_args!("expected {}", key.expects));
    }

    /// A key with something else the matter.
    pub(super) fn about(&mut self, key: &Key, source: &Source, what: impl fmt::Display) {
        self.note(format!("{} ({source}): {what}", key.name));
    }

    /// Anything else.
    pub(super) fn note(&mut self, problem: String) {
        self.0.push(problem);
    }

    /// `Err` when there is a problem.
    pub(super) fn none<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }

    /// One line each.
    #[cfg(test)]
    pub(crate) fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is not usable:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}
