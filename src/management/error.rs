//! What an adapter says when a callback fails.

use std::sync::Arc;

use crate::error::{Cause, Error, ErrorKind};
use crate::id::{PeerQueue, Revision};

/// A failed callback.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ManagementError {
    kind: ManagementErrorKind,
    message: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync + 'static>>,
}

/// What an adapter can say of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManagementErrorKind {
    /// Trying again may help.
    Transient,
    /// The same call will fail again.
    Permanent,
    /// The credential has this revision, which is not smaller than the one offered.
    StaleRevision(Revision),
    /// This target is not in the directory.
    UnknownTarget(PeerQueue),
}

impl ManagementError {
    /// Trying again may help.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { kind: ManagementErrorKind::Transient, message: message.into(), source: None }
    }

    /// The same call will fail again.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { kind: ManagementErrorKind::Permanent, message: message.into(), source: None }
    }

    /// The credential has this revision, which is not smaller than the one offered.
    #[must_use]
    pub fn stale_revision(current: Revision) -> Self {
        Self {
            kind: ManagementErrorKind::StaleRevision(current),
            message: format!("the credential is at revision {current} already"),
            source: None,
        }
    }

    /// This target is not in the directory.
    #[must_use]
    pub fn unknown_target(target: PeerQueue) -> Self {
        Self {
            message: format!("target {target} is not in the directory"),
            kind: ManagementErrorKind::UnknownTarget(target),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Cause>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// What kind of failure.
    #[must_use]
    pub fn kind(&self) -> &ManagementErrorKind {
        &self.kind
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.kind {
            ManagementErrorKind::Transient => true,
            ManagementErrorKind::Permanent
            | ManagementErrorKind::StaleRevision(_)
            | ManagementErrorKind::UnknownTarget(_) => false,
        }
    }
}

impl From<ManagementError> for Error {
    fn from(error: ManagementError) -> Self {
        let transient = error.is_transient();
        let (kind, message) = match error.kind() {
            ManagementErrorKind::UnknownTarget(target) => (
                ErrorKind::InvalidOptions,
                format!("targets: expected peers of the directory, {target} is not in it"),
            ),
            ManagementErrorKind::StaleRevision(_) => {
                (ErrorKind::Superseded, "a newer decision overtook this one".to_owned())
            }
            ManagementErrorKind::Transient | ManagementErrorKind::Permanent => {
                (ErrorKind::Management, "the management side failed".to_owned())
            }
        };
        Self::new(kind, message).with_source(error).transient(transient)
    }
}
