//! Signing in and out.

use std::num::NonZeroU32;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::access::{self, Filled, Visitor};
use super::show;
use crate::serve::app::App;

/// Wrong tokens in a row before one has to wait, and so many more each second.
const TRIES: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// Slows down who guesses. A token is long: this keeps the log short.
pub(crate) struct Tries(DefaultDirectRateLimiter);

impl Tries {
    pub(crate) fn new() -> Self {
        Self(RateLimiter::direct(Quota::per_second(NonZeroU32::MIN).allow_burst(TRIES)))
    }
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    peer: String,
    fault: Option<&'static str>,
}

/// `GET /page/login`
pub(crate) async fn ask(State(app): State<App>) -> Response {
    if !app.guard.has_token() {
        return Redirect::to("/").into_response();
    }
    form(&app, None)
}

/// `POST /page/login`
pub(crate) async fn sign_in(State(app): State<App>, request: Request) -> Response {
    if let Some(refusal) = access::from_elsewhere(request.method(), request.headers()) {
        return refusal;
    }
    let headers = request.headers().clone();
    let form = match access::read(request).await {
        Ok(form) => form,
        Err(refusal) => return refusal,
    };
    if !app.guard.is_token(form.exact("token").unwrap_or_default()) {
        // The right one never waits: whoever guesses must not lock out who knows it.
        if app.page.tries.0.check().is_err() {
            let page = self::form(&app, Some("Too many wrong tokens. Wait a few seconds."));
            let wait = [(header::RETRY_AFTER, "5")];
            return (StatusCode::TOO_MANY_REQUESTS, wait, page).into_response();
        }
        tracing::warn!("somebody tried to sign in with a wrong token");
        let page = self::form(&app, Some("This is not the admin token."));
        return (StatusCode::UNAUTHORIZED, page).into_response();
    }
    let started = app.page.sessions.start();
    let cookie = started.and_then(|(_, id)| app.page.sessions.hand_over(&id, &headers));
    match cookie {
        Some(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response(),
        None => show::problem(StatusCode::SERVICE_UNAVAILABLE, "No session could be started."),
    }
}

/// `POST /page/logout`
pub(crate) async fn sign_out(State(app): State<App>, filled: Filled) -> Response {
    if let Visitor::Session(ticket) = filled.visitor {
        app.page.sessions.end(ticket);
    }
    let back = app.page.sessions.take_back().map(|back| [(header::SET_COOKIE, back)]);
    (back, Redirect::to("/page/login")).into_response()
}

fn form(app: &App, fault: Option<&'static str>) -> Response {
    show::html(&LoginPage { peer: app.parts.config.queue.to_string(), fault })
}
