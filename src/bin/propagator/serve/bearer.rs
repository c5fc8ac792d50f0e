//! Who may use the admin routes.

use std::fmt;
use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::app::App;
use super::problem::Problem;

/// Lets those through who hold the admin token. Without one (the peer listens on loopback only then)
/// those who call from this machine, as long as it is not a web page that makes them.
#[derive(Clone)]
pub(crate) struct Guard {
    /// The token's digest: what is compared has the same length whatever was presented.
    token: Option<[u8; 32]>,
    cors_origins: Vec<String>,
}

impl Guard {
    pub(crate) fn new(token: Option<&str>, cors_origins: &[String]) -> Self {
        Self { token: token.map(digest), cors_origins: cors_origins.to_vec() }
    }

    /// Whether there is a token at all.
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether a text is the admin token, in time that does not depend on its content.
    pub(crate) fn is_token(&self, presented: &str) -> bool {
        self.token.is_some_and(|token| token.ct_eq(&digest(presented)).into())
    }

    /// # Errors
    /// 401 without the right token; 403 where no token is set and a foreign page asks.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if !self.has_token() {
            return self.admit_local(headers);
        }
        let mut presented = headers.get_all(AUTHORIZATION).iter();
        let (first, second) = (presented.next(), presented.next());
        let token = first.filter(|_| second.is_none()).and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim_matches(' '))
        });
        if token.is_some_and(|token| self.is_token(token)) {
            return Ok(());
        }
        let message = "expected `Authorization: Bearer` with the admin token";
        Err(Problem::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message))
    }

    /// A page of another site can make a browser on this machine ask: under its own name that
    /// resolves to loopback (then `Host` is not local), or across origins (then `Origin` is not ours).
    fn admit_local(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let host = text(HOST);
        if host.is_some_and(|host| !is_local(host)) {
            return Err(Problem::forbidden("without ADMIN_TOKEN only a local Host is served"));
        }
        let own = |origin: &str| {
            let authority = origin.strip_prefix("http://");
            authority == host || self.cors_origins.iter().any(|allowed| allowed == origin)
        };
        match text(ORIGIN) {
            Some(origin) if !own(origin) => {
                Err(Problem::forbidden("without ADMIN_TOKEN pages of other origins are refused"))
            }
            _ => Ok(()),
        }
    }
}

/// Says nothing of the token.
impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("has_token", &self.has_token()).finish_non_exhaustive()
    }
}

/// Lets a request through to an admin route.
pub(crate) async fn require(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    app.guard.admit(request.headers())?;
    Ok(next.run(request).await)
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn is_local(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_the_exact_token_passes() {
        let guard = Guard::new(Some("Token-1"), &[]);
        let with = |value: &str| guard.admit(&headers(&[("authorization", value)])).is_ok();
        assert!(with("Bearer Token-1") && with("bearer Token-1"));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Token-1",
            "Bearer token-1",
            "Bearer Token-",
            "Bearer Token-11",
            "Basic Token-1",
            "Bearer Token-1 x",
            "BearerToken-1",
        ] {
            assert!(!with(wrong), "{wrong}");
        }
        assert!(guard.admit(&HeaderMap::new()).is_err());
        let twice = headers(&[("authorization", "Bearer Token-1"), ("authorization", "Bearer x")]);
        assert!(guard.admit(&twice).is_err());
    }

    #[test]
    fn without_a_token_a_page_of_another_site_is_refused() {
        let guard = Guard::new(None, &["https://ops.example".to_owned()]);
        let admits = |pairs: &[(&'static str, &str)]| guard.admit(&headers(pairs)).is_ok();
        assert!(admits(&[]));
        assert!(admits(&[("host", "127.0.0.1:8080")]) && admits(&[("host", "[::1]:8080")]));
        assert!(admits(&[("host", "localhost:1"), ("origin", "http://localhost:1")]));
        assert!(admits(&[("host", "localhost:1"), ("origin", "https://ops.example")]));
        assert!(!admits(&[("host", "evil.example")]) && !admits(&[("host", "[")]));
        assert!(!admits(&[("host", "localhost:1"), ("origin", "http://evil.example")]));
        assert!(!admits(&[("host", "localhost:1"), ("origin", "null")]));
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let shown = format!("{:?}", Guard::new(Some("s3cret"), &[]));
        assert_eq!(shown, "Guard { has_token: true, .. }");
    }
}
