//! What is told of the peer and its verifier: to readers of events, and as metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use hmac_propagator::event::{Event, Observer};
use hmac_propagator::propagator::Propagator;
use hmac_propagator::verify::{VerifierEvent, VerifierObserver};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::clock::now_ms;
use super::events::{self, Feed, StillMay, Told};
use super::metrics::{self, Metrics, Scrape};
use super::page;
use super::problem::{Problem, ProblemBody};
use crate::fault::Fault;
use crate::peer::Peer;

/// How often samples are folded while nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(20);

/// Sees what happens.
#[derive(Clone)]
pub(crate) struct Telemetry {
    pub(crate) feed: Feed,
    metrics: Metrics,
}

impl Telemetry {
    /// Once per process.
    pub(crate) fn start() -> Result<Self, Fault> {
        Ok(Self { feed: Feed::new(now_ms()), metrics: Metrics::install()? })
    }

    /// For `GET /metrics`, with the peer that is asked at each scrape.
    pub(crate) fn scrape(&self, peer: Propagator, parts: &Peer, stop: CancellationToken) -> Scrape {
        let (management, config) = (parts.management.clone(), &parts.config);
        let queues = (config.broker.clone(), config.queue.clone());
        let scrape = self.metrics.clone().scrape(peer, management, queues, self.feed.clone());
        let metrics = self.metrics.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(UPKEEP) => metrics.upkeep(),
                }
            }
        });
        scrape
    }
}

impl Observer for Telemetry {
    fn on_event(&self, event: &Event) {
        self.metrics.event(event);
        if let Some(told) = Told::of(event) {
            self.feed.tell(&told);
        }
    }
}

impl VerifierObserver for Telemetry {
    fn on_event(&self, event: &VerifierEvent) {
        self.metrics.request(event);
    }
}

/// `/metrics`, for those who hold the admin token.
pub(crate) fn metrics_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(scrape))
}

/// Figures about this peer as Prometheus text.
#[utoipa::path(
    get, path = "/metrics", tag = "observe", security(("bearer" = [])),
    responses(
        (status = 200, description = "Prometheus text, version 0.0.4", body = String, content_type = "text/plain"),
        (status = 401, description = "Without the admin token", body = ProblemBody),
    )
)]
async fn scrape(State(app): State<App>) -> Response {
    let text = app.scrape.text().await;
    let kind = [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)];
    (kind, [(header::CACHE_CONTROL, "no-store")], text).into_response()
}

/// `/events`, for those who hold the admin token, and for pages that signed in with it.
pub(crate) fn events_routes(app: &App) -> OpenApiRouter<App> {
    let readers = from_fn_with_state(app.clone(), admit_reader);
    OpenApiRouter::new().routes(routes!(read_events)).route_layer(readers)
}

/// Until when a reader may read on.
#[derive(Clone)]
struct Admitted(StillMay);

async fn admit_reader(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let still_may: StillMay = match page::access::signed_in(&app, request.headers()) {
        Some(ticket) => {
            let app = app.clone();
            Arc::new(move || page::access::is_still_in(&app, ticket))
        }
        None => {
            app.guard.admit(request.headers())?;
            Arc::new(|| true)
        }
    };
    request.extensions_mut().insert(Admitted(still_may));
    Ok(next.run(request).await)
}

/// What happens, as server-sent events: `key_generated`, `key_propagated`, `key_verified`,
/// `key_activated`, `rotation_failed`, `row_changed`, `directory_changed`, and `gap` where events were
/// missed. `Last-Event-ID` replays what came since.
#[utoipa::path(
    get, path = "/events", tag = "observe", security(("bearer" = [])),
    params(("last-event-id" = Option<String>, Header, description = "The event that was seen last")),
    responses(
        (status = 200, description = "A stream that does not end by itself", body = String, content_type = "text/event-stream"),
        (status = 401, description = "Without the admin token", body = ProblemBody),
        (status = 503, description = "Too many readers", body = ProblemBody),
    )
)]
async fn read_events(
    State(app): State<App>,
    Extension(Admitted(still_may)): Extension<Admitted>,
    headers: HeaderMap,
) -> Response {
    events::answer(&app.feed, app.stop.clone(), still_may, &headers)
}
