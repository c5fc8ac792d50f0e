//! Bodies: JSON, bounded in length and time, with errors that name the field and repeat nothing.

use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The longest body that a route reads, in bytes.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;
/// How long a body may take to arrive.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The body of a request, read as JSON.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let message = "content-type: expected `application/json`";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Problem::new(status, "UNSUPPORTED_MEDIA_TYPE", message));
        }
        let reading = Bytes::from_request(request, state);
        let bytes = tokio::time::timeout(BODY_TIMEOUT, reading).await.map_err(|_| too_slow())?;
        let bytes = bytes.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            status => Problem::new(status, "BODY_UNREADABLE", "the body did not arrive whole"),
        })?;
        parse(&bytes).map(Self)
    }
}

/// Refuses a body that says itself that it is too long, on every route, before it is sent.
pub(crate) async fn refuse_announced(request: Request, next: Next) -> Response {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|text| text.parse::<u64>().ok());
    let least = announced.unwrap_or_default().max(request.body().size_hint().lower());
    if least > BODY_LIMIT as u64 { too_large().into_response() } else { next.run(request).await }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut source);
    let value = read.map_err(|error| {
        let path = error.path().to_string();
        bad(&path, error.inner())
    })?;
    source.end().map_err(|_| Problem::bad_field("the body: expected one JSON object"))?;
    Ok(value)
}

fn bad(path: &str, error: &serde_json::Error) -> Problem {
    use serde_json::error::Category;
    if error.classify() != Category::Data {
        return Problem::bad_field("the body: expected one JSON object");
    }
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let field = if path == "." { "the body" } else { path };
    Problem::bad_field(expectation(field, text))
}

/// Which field, and what was expected of it. Serde's own text repeats what was received, which may be
/// a secret.
pub(crate) fn expectation(field: &str, text: &str) -> String {
    let named = |name: &str, what: &str| format!("{}: {what}", name.trim_matches('`'));
    let message = if let Some(name) = text.strip_prefix("missing field ") {
        named(name, "is required")
    } else if let Some(name) = text.strip_prefix("duplicate field ") {
        named(name, "expected once")
    } else if let Some(at) = text.rfind("expected ") {
        let unknown = if text.starts_with("unknown field") { "unknown field, " } else { "" };
        format!("{field}: {unknown}{}", &text[at..])
    } else if text.contains("integer") || text.contains("digit") || text.starts_with("number too") {
        format!("{field}: expected a whole number that is not too large")
    } else {
        format!("{field}: cannot be read")
    };
    message.chars().take(500).collect()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

fn too_large() -> Problem {
    let message = format!("the body is longer than {BODY_LIMIT} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", message)
}

fn too_slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT", "the body did not arrive in time")
}
