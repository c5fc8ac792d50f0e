//! Whether the process lives, and whether it can do its work.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hmac_propagator::propagator::StoreState;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::clock::now;

/// How long the parts may take to answer before they count as away.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready))
}

#[derive(Serialize, ToSchema)]
struct Alive {
    /// Always `healthy`: the process answers.
    #[schema(example = "healthy")]
    status: &'static str,
    /// Now, RFC 3339.
    timestamp: String,
    /// Seconds since the start.
    uptime: f64,
}

#[derive(Serialize, ToSchema)]
struct Ready {
    /// `ready` or `unready`.
    status: &'static str,
    timestamp: String,
    uptime: f64,
    checks: Checks,
    /// What is missing, by the names of the checks.
    missing: Vec<&'static str>,
}

/// What the peer needs. Why something is down stands in the log: this route is open to everybody.
#[derive(Serialize, ToSchema)]
struct Checks {
    /// The connection that publishes.
    publisher: Check,
    /// The connection that consumes the own queue.
    consumer: Check,
    redis: Check,
    /// Absent on a receive-only peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<Check>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Check {
    Up,
    Down,
}

/// The process is alive. Says nothing of what it needs.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Alive)))]
async fn alive(State(app): State<App>) -> Json<Alive> {
    Json(Alive { status: "healthy", timestamp: now(), uptime: uptime(&app) })
}

/// The peer can do its work.
#[utoipa::path(
    get, path = "/health/ready", tag = "health",
    responses((status = 200, body = Ready), (status = 503, description = "What is missing", body = Ready))
)]
async fn ready(State(app): State<App>) -> (StatusCode, Json<Ready>) {
    let checks = check(&app).await;
    let named = [
        ("publisher", Some(checks.publisher)),
        ("consumer", Some(checks.consumer)),
        ("redis", Some(checks.redis)),
        ("database", checks.database),
    ];
    let missing = named.into_iter().filter(|(_, state)| *state == Some(Check::Down));
    let missing: Vec<_> = missing.map(|(name, _)| name).collect();
    let (code, status) = if missing.is_empty() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unready")
    };
    (code, Json(Ready { status, timestamp: now(), uptime: uptime(&app), checks, missing }))
}

async fn check(app: &App) -> Checks {
    let database = async {
        let asked = tokio::time::timeout(PATIENCE, app.parts.management.as_ref()?.ping()).await;
        if let Ok(Err(error)) = &asked {
            tracing::warn!("the database is away: {error}");
        }
        Some(up(matches!(asked, Ok(Ok(())))))
    };
    let (status, database) =
        tokio::join!(tokio::time::timeout(PATIENCE, app.propagator.status()), database);
    let Ok(status) = status else {
        // Only the store can take that long, and without it nothing else helps.
        let (publisher, consumer) = (Check::Down, Check::Down);
        return Checks { publisher, consumer, redis: Check::Down, database };
    };
    Checks {
        publisher: up(status.publisher.is_up()),
        consumer: up(status.consumer.is_up()),
        redis: up(status.store == StoreState::Up),
        database,
    }
}

fn up(is_up: bool) -> Check {
    if is_up { Check::Up } else { Check::Down }
}

fn uptime(app: &App) -> f64 {
    app.started.elapsed().as_secs_f64()
}
