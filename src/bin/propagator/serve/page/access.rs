//! Who may see the page: whoever signed in, or shows the admin token with each request. Where there is
//! no token, whoever calls from this machine.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::form::{Form, LIMIT};
use super::session::Ticket;
use super::show;
use crate::serve::app::App;
use crate::serve::body::BODY_TIMEOUT;
use crate::serve::problem::Problem;

/// The caller of a page.
#[derive(Clone, Copy)]
pub(crate) enum Visitor {
    /// Shows the token with each request: no browser does that by itself.
    Bearer,
    /// Has a session.
    Session(Ticket),
}

/// Lets a request through to a page, and starts a session where nobody has to sign in.
pub(crate) async fn enter(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if let Some(refusal) = from_elsewhere(request.method(), request.headers()) {
        return refusal;
    }
    let (visitor, started) = match visitor(&app, request.headers()) {
        Ok(found) => found,
        Err(problem) => return refuse(&request, problem),
    };
    let cookie = started.and_then(|id| app.page.sessions.hand_over(&id, request.headers()));
    request.extensions_mut().insert(visitor);
    let mut response = next.run(request).await;
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// The session of a page that may read events without the bearer token.
pub(crate) fn signed_in(app: &App, headers: &HeaderMap) -> Option<Ticket> {
    app.page.sessions.find(headers).filter(|_| app.guard.has_token())
}

/// Whether that session goes on.
pub(crate) fn is_still_in(app: &App, ticket: Ticket) -> bool {
    app.page.sessions.lasts(ticket)
}

/// A form that another site's page sends. `SameSite` keeps the cookie from those already; this also
/// holds for signing in, which needs no cookie.
pub(crate) fn from_elsewhere(method: &Method, headers: &HeaderMap) -> Option<Response> {
    let site = headers.get("sec-fetch-site")?;
    let own = site == "same-origin" || site == "none";
    (method == Method::POST && !own).then(|| {
        show::problem(StatusCode::FORBIDDEN, "This form was sent by a page of another site.")
    })
}

fn visitor(app: &App, headers: &HeaderMap) -> Result<(Visitor, Option<String>), Problem> {
    let admitted = app.guard.admit(headers);
    let found = app.page.sessions.find(headers).map(Visitor::Session);
    if app.guard.has_token() {
        return match found {
            Some(visitor) => Ok((visitor, None)),
            None => admitted.map(|()| (Visitor::Bearer, None)),
        };
    }
    admitted?;
    if let Some(visitor) = found {
        return Ok((visitor, None));
    }
    let none = || Problem::unavailable("NO_RANDOMNESS", "no session could be started");
    let (ticket, id) = app.page.sessions.start().ok_or_else(none)?;
    Ok((Visitor::Session(ticket), Some(id)))
}

/// A browser that wants a page is sent to sign in; anything else is told that it must.
fn refuse(request: &Request, problem: Problem) -> Response {
    let wants_page = request
        .headers()
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")));
    if wants_page && problem.status() == StatusCode::UNAUTHORIZED {
        return Redirect::to("/page/login").into_response();
    }
    problem.into_response()
}

/// A form that was filled in on a page of this visitor's session.
pub(crate) struct Filled {
    pub(crate) visitor: Visitor,
    pub(crate) form: Form,
}

impl FromRequest<App> for Filled {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let visitor = request.extensions().get::<Visitor>().copied();
        let form = read(request).await?;
        let genuine = match visitor {
            None => false,
            Some(Visitor::Bearer) => true,
            Some(Visitor::Session(ticket)) => {
                let csrf = form.exact("csrf").unwrap_or_default();
                app.page.sessions.is_csrf(ticket, csrf)
            }
        };
        let message = "This form is out of date. Go back, reload the page, and send it again.";
        match (visitor, genuine) {
            (Some(visitor), true) => Ok(Self { visitor, form }),
            _ => Err(show::problem(StatusCode::FORBIDDEN, message)),
        }
    }
}

/// Reads a form, bounded; that it arrives in time is the server's concern.
pub(crate) async fn read(request: Request) -> Result<Form, Response> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let message = "Expected a form: application/x-www-form-urlencoded.";
        return Err(show::problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let reading = Bytes::from_request(request, &());
    let bytes = tokio::time::timeout(BODY_TIMEOUT, reading).await;
    match bytes {
        Ok(Ok(bytes)) => Ok(Form::read(&bytes)),
        Ok(Err(rejection)) => Err(show::problem(rejection.status(), "The form cannot be read.")),
        Err(_) => Err(show::problem(StatusCode::REQUEST_TIMEOUT, "The form did not arrive.")),
    }
}

/// No form of the page is longer.
pub(crate) fn limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(LIMIT)
}

/// The visitor, in handlers that take no form.
pub(crate) type Who = Extension<Visitor>;
