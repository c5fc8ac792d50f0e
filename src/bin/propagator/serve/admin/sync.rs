//! Syncs on demand.

use axum::Json;
use axum::extract::State;
use hmac_propagator::propagator::SyncSummary;
use serde::Serialize;
use utoipa::ToSchema;

use crate::serve::app::App;
use crate::serve::problem::{Problem, ProblemBody};

/// What a sync did.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Synced {
    /// Entries of open work that were read.
    propagations_read: u64,
    /// Events that the broker confirmed.
    targets_published: u64,
    /// Rows that failed for now.
    targets_retrying: u64,
    /// Rows whose answer is not overdue, or whose event still waits in the target's queue.
    targets_waiting: u64,
    /// Rows that cannot be propagated as they are; each says why.
    rows_unusable: u64,
    /// Rows of decisions that were overtaken.
    rows_outdated: u64,
    /// How long it took.
    duration_ms: f64,
}

impl From<SyncSummary> for Synced {
    fn from(summary: SyncSummary) -> Self {
        Self {
            propagations_read: summary.propagations_read,
            targets_published: summary.targets_published,
            targets_retrying: summary.targets_retrying,
            targets_waiting: summary.targets_waiting,
            rows_unusable: summary.rows_unusable,
            rows_outdated: summary.rows_outdated,
            duration_ms: summary.duration.as_secs_f64() * 1000.0,
        }
    }
}

/// Sends what is open to its targets. Answers arrive later: see the rows in `/admin/state`.
#[utoipa::path(
    post, path = "/admin/sync", tag = "admin", security(("bearer" = [])),
    responses(
        (status = 200, body = Synced),
        (status = 401, body = ProblemBody, description = "No token"),
        (status = 409, description = "Receive-only", body = ProblemBody),
        (status = 503, description = "Broker, Redis or the database is away", body = ProblemBody),
    )
)]
pub(super) async fn sync(State(app): State<App>) -> Result<Json<Synced>, Problem> {
    app.management()?;
    let summary = app.propagator.sync().await?;
    Ok(Json(summary.into()))
}
