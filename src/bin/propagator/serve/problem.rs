//! What a caller is told when a request is not done: a status, a code for programs, a sentence for
//! humans.

use axum::Json;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hmac_propagator::error::{Error, ErrorKind};
use hmac_propagator::management::ManagementError;
use hmac_propagator::management::sql::OperatorError;
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request was not done.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after_secs: Option<u64>,
}

/// The body of every answer with a status of 400 or more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemBody {
    /// A code for programs.
    #[schema(example = "INVALID_OPTIONS")]
    error: String,
    /// A sentence for humans; it names the field and what was expected.
    #[schema(example = "clientId: is required")]
    message: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after_secs: None }
    }

    /// A field that cannot be read; the message names it.
    pub(crate) fn bad_field(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_OPTIONS", message)
    }

    /// A field that can be read and cannot be obeyed.
    pub(crate) fn impossible(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_OPTIONS", message)
    }

    pub(crate) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(crate) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    /// Something that this peer needs is away.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }

    /// A driving call on a peer without a database.
    pub(crate) fn receive_only() -> Self {
        Self::conflict("MANAGEMENT_NOT_CONFIGURED", "this peer is receive-only: it decides nothing")
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence for humans.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_secs = Some(seconds);
        self
    }

    /// What a status alone says.
    fn of(status: StatusCode) -> Self {
        let (code, message) = match status {
            StatusCode::UNAUTHORIZED => ("UNAUTHORIZED", "a bearer token is expected"),
            StatusCode::FORBIDDEN => ("FORBIDDEN", "this is not allowed"),
            StatusCode::NOT_FOUND => ("NOT_FOUND", "there is no such route"),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("METHOD_NOT_ALLOWED", "the route does not have this method, see `Allow`")
            }
            StatusCode::REQUEST_TIMEOUT => ("TIMEOUT", "the request did not arrive in time"),
            StatusCode::PAYLOAD_TOO_LARGE => {
                ("BODY_TOO_LARGE", "the body is longer than this service reads")
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                ("UNSUPPORTED_MEDIA_TYPE", "the body must be `application/json`")
            }
            StatusCode::SERVICE_UNAVAILABLE => ("UNAVAILABLE", "not now"),
            status if status.is_client_error() => ("BAD_REQUEST", "the request cannot be read"),
            _ => ("INTERNAL_ERROR", "the request could not be done"),
        };
        Self::new(status, code, message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody { error: self.code.to_owned(), message: self.message };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_secs {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"propagator\"");
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Gives every refusal that the framework makes by itself the same form; headers such as `Allow`
/// stay.
pub(crate) async fn uniform(response: Response) -> Response {
    let status = response.status();
    let refused = status.is_client_error() || status.is_server_error();
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let plain = kind.is_none_or(|kind| kind.starts_with(b"text/plain"));
    // What has a form already, and what a route wrote for humans, stays.
    if !refused || !plain {
        return response;
    }
    let mut uniform = Problem::of(status).into_response();
    let (kept, headers) = (uniform.headers().clone(), uniform.headers_mut());
    for (name, value) in response.headers() {
        if !kept.contains_key(name) && name != CONTENT_LENGTH {
            headers.append(name, value.clone());
        }
    }
    uniform
}

/// What the library answers. The cause goes to the log: it says more than a caller should learn.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error.kind() {
            ErrorKind::ManagementNotConfigured => Self::receive_only(),
            ErrorKind::UnknownClient => Self::not_found("UNKNOWN_CLIENT", message),
            ErrorKind::ClientNotFound => Self::not_found("CLIENT_NOT_FOUND", message),
            ErrorKind::InvalidOptions => Self::impossible(message),
            ErrorKind::Superseded => Self::conflict("SUPERSEDED", message),
            ErrorKind::Closed => Self::unavailable("CLOSING", message),
            ErrorKind::Store => failed(&error, "STORE_UNAVAILABLE", error.is_transient()),
            ErrorKind::Management => failed(&error, "DATABASE_UNAVAILABLE", error.is_transient()),
            ErrorKind::Broker => failed(&error, "BROKER_UNAVAILABLE", error.is_transient()),
            _ => failed(&error, "INTERNAL_ERROR", false),
        }
    }
}

impl From<OperatorError> for Problem {
    fn from(error: OperatorError) -> Self {
        let message = error.to_string();
        match error {
            OperatorError::TargetExists(_) => Self::conflict("TARGET_EXISTS", message),
            OperatorError::UnknownTarget(_) => Self::not_found("UNKNOWN_TARGET", message),
            OperatorError::OwnQueue(_) => Self::bad_field(message),
            OperatorError::TargetInUse { .. } => Self::conflict("TARGET_IN_USE", message),
            OperatorError::UnknownCredential(_) => Self::not_found("UNKNOWN_CLIENT", message),
            OperatorError::NoSuchRow { .. } => Self::not_found("UNKNOWN_ROW", message),
            OperatorError::NotFailed { .. } => Self::conflict("NOT_FAILED", message),
            OperatorError::Database(error) => error.into(),
            _ => failed(&error, "INTERNAL_ERROR", false),
        }
    }
}

impl From<ManagementError> for Problem {
    fn from(error: ManagementError) -> Self {
        failed(&error, "DATABASE_UNAVAILABLE", error.is_transient())
    }
}

/// Away for now, or broken.
fn failed(error: &dyn std::error::Error, code: &'static str, transient: bool) -> Problem {
    let mut causes = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push_str(&format!(": {error}"));
        cause = error.source();
    }
    tracing::warn!(code, "a request failed: {causes}");
    if transient {
        Problem::unavailable(code, error.to_string()).retry_after(5)
    } else {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "INTERNAL_ERROR", "the request could not be done, see the log")
    }
}
