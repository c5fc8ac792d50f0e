//! The error that callers see.

use std::error::Error as StdError;
use std::sync::Arc;

/// A boxed cause.
pub type Cause = Box<dyn StdError + Send + Sync + 'static>;

/// Result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for code that decides what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A driving call on a receive-only peer.
    ManagementNotConfigured,
    /// The management side does not know the client on that track.
    UnknownClient,
    /// There is no credential of that client to manage.
    ClientNotFound,
    /// An argument or option is not acceptable; the message names it and what was expected.
    InvalidOptions,
    /// Another decision about the same credential overtook this one; nothing of this one remains.
    Superseded,
    /// The credential or state store failed.
    Store,
    /// The management side failed.
    Management,
    /// The broker cannot be used now.
    Broker,
    /// The propagator was closed.
    Closed,
    /// A defect of this crate.
    Internal,
}

impl ErrorKind {
    /// Whether the same call may succeed later without any change by the caller. For `Store` and
    /// `Management` the failure itself says so: see [`Error::is_transient`].
    fn usually_transient(self) -> bool {
        match self {
            Self::Broker => true,
            Self::ManagementNotConfigured
            | Self::UnknownClient
            | Self::ClientNotFound
            | Self::InvalidOptions
            | Self::Superseded
            | Self::Store
            | Self::Management
            | Self::Closed
            | Self::Internal => false,
        }
    }
}

/// The error of every public call.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    transient: bool,
    source: Option<Cause>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), transient: kind.usually_transient(), source: None }
    }

    pub(crate) fn invalid(what: &str, expected: &str) -> Self {
        Self::new(ErrorKind::InvalidOptions, format!("{what}: expected {expected}"))
    }

    pub(crate) fn with_source(mut self, source: impl Into<Cause>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn transient(mut self, transient: bool) -> Self {
        self.transient = transient;
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without a change by the caller.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.transient
    }

    /// The code that peers in other languages use for it: `MANAGEMENT_NOT_CONFIGURED`,
    /// `UNKNOWN_CLIENT`, `CLIENT_NOT_FOUND`, `INVALID_OPTIONS`, and `INTERNAL_ERROR` for all else.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.kind {
            ErrorKind::ManagementNotConfigured => "MANAGEMENT_NOT_CONFIGURED",
            ErrorKind::UnknownClient => "UNKNOWN_CLIENT",
            ErrorKind::ClientNotFound => "CLIENT_NOT_FOUND",
            ErrorKind::InvalidOptions => "INVALID_OPTIONS",
            ErrorKind::Superseded
            | ErrorKind::Store
            | ErrorKind::Management
            | ErrorKind::Broker
            | ErrorKind::Closed
            | ErrorKind::Internal => "INTERNAL_ERROR",
        }
    }
}

/// A failure of a credential or state store.
///
/// Transient: the store may answer later (unreachable, loading, out of memory). Permanent: the same
/// request will fail again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    message: String,
    transient: bool,
    source: Option<Arc<dyn StdError + Send + Sync + 'static>>,
}

impl StoreError {
    /// A failure that may pass.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: true, source: None }
    }

    /// A failure that will not pass by itself.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: false, source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Cause>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Whether a retry may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.transient
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let transient = error.is_transient();
        Self::new(ErrorKind::Store, "the store failed").with_source(error).transient(transient)
    }
}
