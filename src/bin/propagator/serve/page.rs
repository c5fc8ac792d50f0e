//! The page: what an operator sees and does in a browser.
//!
//! Made on the server; the script only keeps the matrix up to date. A browser signs in with the admin
//! token and then holds the id of a session; each form carries a token of that session. What was
//! decided is answered with a redirect, so that a reload does nothing twice; a secret that was made is
//! shown in the answer itself, once.

pub(crate) mod access;
mod age;
mod audit;
mod call;
mod credential;
mod form;
mod login;
mod matrix;
mod refusals;
mod session;
mod show;
mod stores;
mod targets;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use hmac_propagator::id::Track;
use hmac_propagator::store::RedisCredentialStore;

use super::app::App;
use super::problem::Problem;
use crate::fault::Fault;
use crate::peer::{self, Peer};
use access::Visitor;
use login::Tries;
use session::Sessions;
use stores::{Fingerprints, PeerStore};

/// What the page keeps.
pub(crate) struct Page {
    sessions: Sessions,
    tries: Tries,
    /// This peer's own store first.
    stores: Vec<PeerStore>,
    fingerprints: Fingerprints,
}

impl Page {
    /// # Errors
    /// When the URL of a peer's store cannot be used, or there is no randomness.
    pub(crate) fn new(parts: &Peer) -> Result<Self, Fault> {
        let config = &parts.config;
        let own = PeerStore {
            name: config.queue.to_string(),
            http: parts.http.clone(),
            message: parts.message.clone(),
        };
        let mut stores = vec![own];
        for other in config.peers.iter().filter(|other| other.name != config.queue.as_str()) {
            let state = peer::open_redis(&other.redis_url)?;
            let store = |track, namespace: &String| {
                RedisCredentialStore::new(state.clone(), track, namespace)
            };
            stores.push(PeerStore {
                name: other.name.clone(),
                http: store(Track::Http, &config.http_namespace),
                message: store(Track::Message, &config.message_namespace),
            });
        }
        let fingerprints = Fingerprints::new();
        let fingerprints =
            fingerprints.ok_or_else(|| Fault::new("the system gives no random numbers"))?;
        let sessions = Sessions::new(config.queue.as_str());
        Ok(Self { sessions, tries: Tries::new(), stores, fingerprints })
    }
}

/// All that a browser asks for.
pub(crate) fn routes(app: &App) -> Router<App> {
    let inside = Router::new()
        .route("/", get(matrix::index))
        .route("/page/matrix", get(matrix::part))
        .route("/page/credential", get(credential::one))
        .route("/page/new", get(credential::new))
        .route("/page/ensure", post(credential::ensure))
        .route("/page/rotate", post(credential::rotate))
        .route("/page/revoke", post(credential::revoke))
        .route("/page/retry", post(credential::retry))
        .route("/page/sync", post(credential::sync))
        .route("/page/targets", get(targets::list))
        .route("/page/targets/add", post(targets::add))
        .route("/page/targets/drop", post(targets::drop))
        .route("/page/stores", get(stores::show))
        .route("/page/refused", get(refusals::list))
        .route("/page/call", get(call::ask).post(call::call))
        .route("/page/audit", get(audit::list))
        .route("/page/logout", post(login::sign_out))
        .route_layer(from_fn_with_state(app.clone(), access::enter));
    Router::new()
        .route("/page/login", get(login::ask).post(login::sign_in))
        .route("/page/style.css", get(style))
        .route("/page/app.js", get(script))
        .route("/page/icon.svg", get(icon))
        .merge(inside)
        .layer(access::limit())
        .layer(map_response(show::guard_headers))
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("page/assets/style.css"))
}

async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("page/assets/app.js"))
}

async fn icon() -> Response {
    asset("image/svg+xml", include_str!("page/assets/icon.svg"))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    // Asked for again with each page: after an upgrade nobody must see old pages in new clothes.
    let fresh = HeaderValue::from_static("no-cache");
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (header::CACHE_CONTROL, fresh)], text)
        .into_response()
}

/// What was read from a form, or what is wrong with it.
type Outcome<T> = Result<T, String>;

/// Something was done: says so on the next page.
fn done(app: &App, visitor: Visitor, notice: String, next: &str) -> Response {
    if let Visitor::Session(ticket) = visitor {
        app.page.sessions.note(ticket, notice);
    }
    Redirect::to(next).into_response()
}

/// A form that cannot be obeyed.
fn invalid(message: &str) -> Response {
    show::problem(StatusCode::BAD_REQUEST, message)
}

/// Something was not done: the same status and sentence as for programs.
fn refused(problem: impl Into<Problem>) -> Response {
    let problem = problem.into();
    show::problem(problem.status(), problem.message())
}

fn receive_only() -> Response {
    refused(Problem::receive_only())
}
