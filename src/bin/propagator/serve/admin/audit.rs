//! What happened, and what is due.

use axum::Json;
use axum::extract::State;
use hmac_propagator::id::{ClientId, CredentialKey, Track};
use hmac_propagator::management::sql::AuditQuery;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::serve::app::App;
use crate::serve::clock;
use crate::serve::problem::{Problem, ProblemBody};
use crate::serve::query::Params;

/// Most entries of one answer.
const MOST: u32 = 1000;

/// Which entries of the audit.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct Wanted {
    /// Most entries of the answer. Default: 50.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Only older ones: the `next` of the answer before.
    before: Option<u64>,
    /// Only of this client.
    client_id: Option<String>,
    /// On this track; only with `clientId`. Default: `http`.
    #[param(value_type = Option<String>)]
    track: Option<Track>,
}

/// Entries, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditPage {
    entries: Vec<Entry>,
    /// Where to go on; null: that was all.
    next: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Entry {
    /// From 1, without gaps.
    seq: u64,
    /// Milliseconds since the epoch.
    at: u64,
    action: String,
    actor: String,
    track: Option<String>,
    client_id: Option<String>,
    target_amqp_queue: Option<String>,
    revision: Option<u64>,
    detail: Option<String>,
}

/// What happened, newest first.
#[utoipa::path(
    get, path = "/admin/audit", tag = "admin", params(Wanted), security(("bearer" = [])),
    responses(
        (status = 200, body = AuditPage),
        (status = 400, description = "A parameter cannot be read", body = ProblemBody),
        (status = 401, body = ProblemBody, description = "No token"),
        (status = 409, description = "Receive-only", body = ProblemBody),
        (status = 503, description = "The database is away", body = ProblemBody),
    )
)]
pub(super) async fn audit(
    State(app): State<App>,
    Params(wanted): Params<Wanted>,
) -> Result<Json<AuditPage>, Problem> {
    let management = app.management()?;
    let limit = most(wanted.limit, 50)?;
    let mut query = AuditQuery::newest(limit);
    if let Some(client) = wanted.client_id {
        let client =
            ClientId::new(client).map_err(|error| Problem::bad_field(error.to_string()))?;
        query = query.of(CredentialKey::new(wanted.track.unwrap_or_default(), client));
    } else if wanted.track.is_some() {
        return Err(Problem::bad_field("track: expected only beside clientId"));
    }
    if let Some(seq) = wanted.before {
        query = query.before(seq);
    }
    let found = management.audit(&query).await?;
    let full = u32::try_from(found.len()).is_ok_and(|count| count == limit);
    let next = found.last().filter(|entry| full && entry.seq > 1).map(|entry| entry.seq);
    let entries = found.into_iter().map(|entry| Entry {
        seq: entry.seq,
        at: entry.at_ms,
        action: entry.action,
        actor: entry.actor,
        track: entry.track,
        client_id: entry.client_id,
        target_amqp_queue: entry.target,
        revision: entry.revision,
        detail: entry.detail,
    });
    Ok(Json(AuditPage { entries: entries.collect(), next }))
}

/// How many.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Most {
    /// Most entries of the answer. Default: 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Rotations that are due, those that have waited longest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct DueRotations {
    due: Vec<DueView>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DueView {
    client_id: String,
    track: &'static str,
    /// Milliseconds since the epoch.
    rotated_at: u64,
    due_at: u64,
    /// Whole days.
    days_overdue: u64,
}

/// Credentials whose policy asks for a new secret by now.
#[utoipa::path(
    get, path = "/admin/due", tag = "admin", params(Most), security(("bearer" = [])),
    responses(
        (status = 200, body = DueRotations),
        (status = 400, description = "A parameter cannot be read", body = ProblemBody),
        (status = 401, body = ProblemBody, description = "No token"),
        (status = 409, description = "Receive-only", body = ProblemBody),
        (status = 503, description = "The database is away", body = ProblemBody),
    )
)]
pub(super) async fn due(
    State(app): State<App>,
    Params(wanted): Params<Most>,
) -> Result<Json<DueRotations>, Problem> {
    let management = app.management()?;
    let found = management.due_rotations(clock::now_ms(), most(wanted.limit, 100)?).await?;
    let due = found.into_iter().map(|due| DueView {
        client_id: due.key.client_id.into(),
        track: due.key.track.as_str(),
        rotated_at: due.rotated_at_ms,
        due_at: due.due_at_ms,
        days_overdue: due.overdue.as_secs() / (24 * 60 * 60),
    });
    Ok(Json(DueRotations { due: due.collect() }))
}

fn most(limit: Option<u32>, default: u32) -> Result<u32, Problem> {
    let limit = limit.unwrap_or(default);
    let fits = (1..=MOST).contains(&limit);
    if fits { Ok(limit) } else { Err(Problem::bad_field("limit: expected 1 to 1000")) }
}
