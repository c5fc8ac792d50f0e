//! From what is known to what is shown.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::access::Visitor;
use crate::serve::app::App;

/// What every page has around its content.
pub(crate) struct Shell {
    pub(crate) peer: String,
    /// The entry of the menu that is shown.
    pub(crate) active: &'static str,
    /// Of the session's forms; empty without a session.
    pub(crate) csrf: String,
    pub(crate) notices: Vec<String>,
    /// Whether this peer decides, and so has what the menu leads to.
    pub(crate) decides: bool,
    pub(crate) can_sign_out: bool,
}

impl Shell {
    pub(crate) fn new(app: &App, visitor: Visitor, active: &'static str) -> Self {
        let (csrf, notices) = match visitor {
            Visitor::Bearer => (String::new(), Vec::new()),
            Visitor::Session(ticket) => {
                let sessions = &app.page.sessions;
                (sessions.csrf(ticket).unwrap_or_default(), sessions.take_notices(ticket))
            }
        };
        Self {
            peer: app.parts.config.queue.to_string(),
            active,
            csrf,
            notices,
            decides: app.parts.management.is_some(),
            can_sign_out: app.guard.has_token() && matches!(visitor, Visitor::Session(_)),
        }
    }

    /// The value of `aria-current` for an entry of the menu.
    pub(crate) fn current(&self, entry: &str) -> &'static str {
        if self.active == entry { "page" } else { "false" }
    }
}

/// A page, or what a script puts into one.
pub(crate) fn html(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!("a page cannot be rendered: {error}");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "This page cannot be shown.")
        }
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    title: &'a str,
    message: &'a str,
}

/// Why something was not done, as a page of its own.
pub(crate) fn problem(status: StatusCode, message: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Not done");
    match (ProblemPage { title, message }).render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(_) => status.into_response(),
    }
}

/// What browsers must not do with a page: run or load anything that is not ours, put it into a frame,
/// keep a copy, or tell other sites where somebody came from.
pub(crate) async fn guard_headers(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
        connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set("content-security-policy", POLICY);
    set("x-content-type-options", "nosniff");
    set("x-frame-options", "DENY");
    set("referrer-policy", "no-referrer");
    set("cross-origin-opener-policy", "same-origin");
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// `?name=value&…`, with whatever is in the values.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::for_suffix(String::from("?"), 1);
    query.extend_pairs(pairs);
    query.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_carries_any_text() {
        let hostile = query(&[("client", "a&b=\"<c>'#"), ("track", "http")]);
        assert_eq!(hostile, "?client=a%26b%3D%22%3Cc%3E%27%23&track=http");
    }
}
