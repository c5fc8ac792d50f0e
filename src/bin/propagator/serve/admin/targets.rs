//! The directory of targets.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hmac_propagator::id::PeerQueue;
use hmac_propagator::management::sql::{NewTarget, OperatorError, SqlManagement, TargetChange};
use hmac_propagator::secret::PropagationSecret;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::serve::app::App;
use crate::serve::body::Body;
use crate::serve::events::Told;
use crate::serve::problem::{Problem, ProblemBody};
use crate::serve::query::Named;

/// A peer of the directory.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TargetRequest {
    #[schema(value_type = String, max_length = 200, pattern = "^[A-Za-z0-9-]+$")]
    target_amqp_queue: PeerQueue,
    /// What messages to this peer must carry.
    #[schema(value_type = String, min_length = 1)]
    propagation_secret: SharedSecret,
    /// Left out or null: as it is. Empty: none.
    #[schema(max_length = 1000)]
    note: Option<String>,
    /// Whether its answers count without a signature. Left out or null: as it is, for a new one no.
    receive_only: Option<bool>,
}

struct SharedSecret(PropagationSecret);

impl<'de> Deserialize<'de> for SharedSecret {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        PropagationSecret::new(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// What was done about a target.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetDone {
    pub(super) target_amqp_queue: String,
    /// `target.create`, `target.update`, `target.delete` or `target.resend`.
    pub(super) op: &'static str,
}

/// Adds a peer to the directory, or changes it.
#[utoipa::path(
    post, path = "/admin/targets", tag = "admin", request_body = TargetRequest,
    security(("bearer" = [])),
    responses(
        (status = 201, body = TargetDone),
        (status = 400, description = "A field cannot be read", body = ProblemBody),
        (status = 401, body = ProblemBody, description = "No token"),
        (status = 409, description = "Receive-only", body = ProblemBody),
        (status = 413, description = "The body is too long", body = ProblemBody),
        (status = 415, description = "The body is not JSON", body = ProblemBody),
        (status = 422, description = "This peer itself", body = ProblemBody),
        (status = 503, description = "The database is away", body = ProblemBody),
    )
)]
pub(super) async fn put(
    State(app): State<App>,
    Body(request): Body<TargetRequest>,
) -> Result<(StatusCode, Json<TargetDone>), Problem> {
    let management = app.management()?;
    if request.target_amqp_queue == app.parts.config.queue {
        return Err(Problem::impossible("targetAmqpQueue: expected another peer than this one"));
    }
    if request.note.as_ref().is_some_and(|note| note.chars().count() > 1000) {
        return Err(Problem::bad_field("note: expected at most 1000 characters"));
    }
    let target = request.target_amqp_queue.clone();
    let op = add_or_change(management, request).await?;
    app.feed.tell(&Told::directory_changed(&target));
    // Rows that could not be sent for want of a usable secret may go out now.
    app.syncs.soon();
    Ok((StatusCode::CREATED, Json(TargetDone { target_amqp_queue: target.into(), op })))
}

async fn add_or_change(
    management: &SqlManagement,
    request: TargetRequest,
) -> Result<&'static str, Problem> {
    let TargetRequest { target_amqp_queue: queue, propagation_secret, note, receive_only } =
        request;
    let SharedSecret(secret) = propagation_secret;
    let mut new = NewTarget::new(queue.clone(), secret.clone());
    let mut change = TargetChange::default().secret(secret);
    if let Some(note) = &note {
        new = new.note(note);
        change = change.note(note);
    }
    if receive_only == Some(true) {
        new = new.receive_only();
    }
    if let Some(receive_only) = receive_only {
        change = change.receive_only(receive_only);
    }
    match management.add_target(new.clone()).await {
        Ok(()) => return Ok("target.create"),
        Err(OperatorError::TargetExists(_)) => {}
        Err(error) => return Err(error.into()),
    }
    match management.change_target(&queue, change).await {
        Ok(()) => Ok("target.update"),
        // Dropped between the two.
        Err(OperatorError::UnknownTarget(_)) => {
            management.add_target(new).await?;
            Ok("target.create")
        }
        Err(error) => Err(error.into()),
    }
}

/// Drops a peer from the directory.
#[utoipa::path(
    delete, path = "/admin/targets/{queue}", tag = "admin", security(("bearer" = [])),
    params(("queue" = String, Path, description = "The peer's queue")),
    responses(
        (status = 200, body = TargetDone),
        (status = 400, description = "No name of a queue, or this peer's own", body = ProblemBody),
        (status = 401, body = ProblemBody, description = "No token"),
        (status = 404, description = "Not in the directory", body = ProblemBody),
        (status = 409, description = "Credentials have it as a target; or receive-only", body = ProblemBody),
        (status = 503, description = "The database is away", body = ProblemBody),
    )
)]
pub(super) async fn delete(
    State(app): State<App>,
    Named(queue): Named,
) -> Result<Json<TargetDone>, Problem> {
    let management = app.management()?;
    let queue = PeerQueue::new(queue).map_err(|error| Problem::bad_field(error.to_string()))?;
    if queue == app.parts.config.queue {
        return Err(Problem::bad_field("queue: expected another peer than this one"));
    }
    management.drop_target(&queue).await?;
    app.feed.tell(&Told::directory_changed(&queue));
    Ok(Json(TargetDone { target_amqp_queue: queue.into(), op: "target.delete" }))
}
