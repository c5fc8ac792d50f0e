//! A refusal, with what an operator needs to know about it.

use std::fmt;

use crate::auth::RefusalCode;
use crate::error::StoreError;
use crate::id::ClientId;

/// Why a caller was refused. `Display` is what the caller may read.
#[derive(Clone, Debug)]
pub struct Refused {
    code: RefusalCode,
    client_id: Option<ClientId>,
    cause: Option<StoreError>,
}

impl Refused {
    pub(super) fn new(code: RefusalCode) -> Self {
        Self { code, client_id: None, cause: None }
    }

    pub(super) fn store(error: StoreError) -> Self {
        Self { code: RefusalCode::InternalError, client_id: None, cause: Some(error) }
    }

    pub(super) fn of(mut self, client_id: Option<&ClientId>) -> Self {
        self.client_id = client_id.cloned();
        self
    }

    /// The code of the contract, with its HTTP status and its message.
    #[must_use]
    pub fn code(&self) -> RefusalCode {
        self.code
    }

    /// Who claimed to be calling, where that could be read. Not proven.
    #[must_use]
    pub fn client_id(&self) -> Option<&ClientId> {
        self.client_id.as_ref()
    }
}

impl From<RefusalCode> for Refused {
    fn from(code: RefusalCode) -> Self {
        Self::new(code)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.message())
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}
