//! What the routes share, and how they are put together.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use hmac_propagator::management::sql::SqlManagement;
use hmac_propagator::propagator::Propagator;
use hmac_propagator::verify::Verifier;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use super::admin::Caller;
use super::bearer::{self, Guard};
use super::events::Feed;
use super::metrics::Scrape;
use super::page::{self, Page};
use super::problem::{self, Problem};
use super::syncs::Syncs;
use super::telemetry::{self, Telemetry};
use super::{admin, body, cors, echo, health, log, openapi, rotate, secrets};
use crate::config::Hidden;
use crate::fault::Fault;
use crate::peer::Peer;

/// What the routes share; clones are handles.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    /// Configuration, stores, database.
    pub(crate) parts: Peer,
    /// The peer, started.
    pub(crate) propagator: Propagator,
    /// Of signed requests.
    pub(crate) verifier: Verifier,
    /// Who may use the admin routes.
    pub(crate) guard: Guard,
    /// Makes signed test calls.
    pub(crate) caller: Caller,
    /// How often `/rotate` may be asked.
    pub(crate) rotations: rotate::Limit,
    /// Syncs after decisions.
    pub(crate) syncs: Syncs,
    /// What happens, for those who read it.
    pub(crate) feed: Feed,
    pub(crate) scrape: Scrape,
    pub(crate) page: Page,
    /// Cancelled when the process is to end: open streams must end then.
    pub(crate) stop: CancellationToken,
    pub(crate) started: Instant,
}

impl App {
    /// # Errors
    /// When a client for test calls cannot be made.
    pub(crate) fn new(
        parts: Peer,
        propagator: Propagator,
        verifier: Verifier,
        telemetry: &Telemetry,
        stop: CancellationToken,
        started: Instant,
    ) -> Result<Self, Fault> {
        let http = &parts.config.http;
        let guard = Guard::new(http.admin_token.as_ref().map(Hidden::expose), &http.cors_origins);
        let by_itself = parts.management.is_some() && parts.config.sync_interval.is_some();
        let syncs = Syncs::start(by_itself, propagator.clone(), stop.clone());
        let feed = telemetry.feed.clone();
        let page = Page::new(&parts)?;
        let scrape = telemetry.scrape(propagator.clone(), &parts, stop.clone());
        let caller = Caller::new(&http.call_target_origins)?;
        let rotations = rotate::Limit::new();
        Ok(Self(Arc::new(Shared {
            parts,
            propagator,
            verifier,
            guard,
            caller,
            rotations,
            syncs,
            feed,
            scrape,
            page,
            stop,
            started,
        })))
    }

    /// The database.
    ///
    /// # Errors
    /// 409 on a receive-only peer.
    pub(crate) fn management(&self) -> Result<&SqlManagement, Problem> {
        self.parts.management.as_ref().ok_or_else(Problem::receive_only)
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// All routes. `OpenApiRouter::routes` puts a handler and its description in at once, so that none is
/// without the other; what is not part of the API (pages, style sheets) goes in by `route`.
pub(crate) fn router(app: &App) -> Router {
    let (routes, document) =
        openapi::start().merge(guarded(app)).merge(open(app)).split_for_parts();
    openapi::serve(routes, &document)
        .fallback(nowhere)
        .layer(from_fn(body::refuse_announced))
        .layer(map_response(problem::uniform))
        .layer(cors::layer(&app.parts.config.http.cors_origins))
        .layer(from_fn(log::request))
        .with_state(app.clone())
}

/// Routes for those who hold the admin token. Merge here what is to stand behind it.
fn guarded(app: &App) -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(telemetry::metrics_routes())
        .merge(admin::routes())
        .merge(rotate::routes())
        .merge(secrets::routes())
        .route_layer(from_fn_with_state(app.clone(), bearer::require))
}

/// Routes that everybody may ask, or that guard themselves.
fn open(app: &App) -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(health::routes())
        .merge(echo::routes(app))
        .merge(telemetry::events_routes(app))
        .merge(page::routes(app).into())
}

async fn nowhere() -> Problem {
    Problem::not_found("NOT_FOUND", "there is no such route")
}
