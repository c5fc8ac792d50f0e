//! Answers that are given instead of the service's.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{Either, Full};

use crate::verify::Refused;

/// The body of an answer: the service's own, or a refusal.
pub type AnswerBody<B> = Either<B, Full<Bytes>>;

/// A status, a code for programs and a sentence for humans.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
}

impl Answer {
    pub(super) const TOO_LARGE: Self = Self {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        code: "BODY_TOO_LARGE",
        message: "the body is longer than this service reads",
    };
    pub(super) const TOO_SLOW: Self = Self {
        status: StatusCode::REQUEST_TIMEOUT,
        code: "BODY_TIMEOUT",
        message: "the body did not arrive in time",
    };
    pub(super) const UNREADABLE: Self = Self {
        status: StatusCode::BAD_REQUEST,
        code: "BODY_UNREADABLE",
        message: "the body did not arrive whole",
    };
    pub(super) const WRONG_CLIENT: Self = Self {
        status: StatusCode::FORBIDDEN,
        code: "CLIENT_NOT_ALLOWED",
        message: "this client may not do this",
    };
    pub(super) const UNPROTECTED: Self = Self {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        code: "INTERNAL_ERROR",
        message: "no layer before this route verifies clients",
    };

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let Self { status, code, message } = self;
        let body = serde_json::json!({ "error": code, "message": message }).to_string();
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("HMAC-SHA256"));
        }
        response
    }
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        let code = refused.code();
        let status = StatusCode::from_u16(code.status());
        Self {
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code: code.as_str(),
            message: code.message(),
        }
    }
}
