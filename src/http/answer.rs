//! Answers that are given instead of the service's.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
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

    pub(super) fn into_response(self, protocol: Protocol) -> Response<Full<Bytes>> {
        match protocol {
            Protocol::Http => self.as_json(),
            Protocol::Grpc => self.as_grpc(),
        }
    }

    fn as_json(self) -> Response<Full<Bytes>> {
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

    /// A gRPC client would read JSON as a broken message of its service. It gets a status and no
    /// message: gRPC over HTTP/2, "Trailers-Only".
    fn as_grpc(self) -> Response<Full<Bytes>> {
        let status = match self.status {
            StatusCode::UNAUTHORIZED => 16_u16,
            StatusCode::FORBIDDEN => 7,
            StatusCode::PAYLOAD_TOO_LARGE => 8,
            StatusCode::REQUEST_TIMEOUT => 4,
            StatusCode::BAD_REQUEST => 3,
            _ => 13,
        };
        let mut response = Response::new(Full::default());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(status));
        // Codes and messages are plain ASCII without a percent sign.
        if let Ok(text) = HeaderValue::try_from(format!("{}: {}", self.code, self.message)) {
            headers.insert("grpc-message", text);
        }
        response
    }
}

/// How the caller expects to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Grpc,
}

impl Protocol {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        match kind.strip_prefix(b"application/grpc") {
            Some([] | [b'+' | b';', ..]) => Self::Grpc,
            // gRPC-Web and Connect too: they read the HTTP status, and not an answer of gRPC's type.
            _ => Self::Http,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::RefusalCode;

    #[test]
    fn a_grpc_client_gets_a_status_and_no_body() {
        let mut headers = HeaderMap::new();
        assert_eq!(Protocol::of(&headers), Protocol::Http);
        for (kind, protocol) in [
            ("application/grpc", Protocol::Grpc),
            ("application/grpc+proto", Protocol::Grpc),
            ("application/grpc;charset=utf-8", Protocol::Grpc),
            ("application/grpc-web+proto", Protocol::Http),
            ("application/json", Protocol::Http),
        ] {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            assert_eq!(Protocol::of(&headers), protocol, "{kind}");
        }
        for (code, status) in [
            (RefusalCode::BadSignature, "16"),
            (RefusalCode::ClientIpNotAllowed, "7"),
            (RefusalCode::InternalError, "13"),
        ] {
            let response = Answer::from(Refused::from(code)).into_response(Protocol::Grpc);
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()["grpc-status"], status);
            let text = response.headers()["grpc-message"].to_str().unwrap();
            assert_eq!(text, format!("{code}: {}", code.message()));
        }
    }
}
