//! A target that has lost its store and cannot say so itself.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hmac_propagator::id::PeerQueue;
use hmac_propagator::management::Management;
use hmac_propagator::management::sql::OperatorError;
use serde::Deserialize;
use utoipa::ToSchema;

use super::targets::TargetDone;
use crate::serve::app::App;
use crate::serve::body::Body;
use crate::serve::events::Told;
use crate::serve::problem::{Problem, ProblemBody};

/// A target to be asked again.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ResendRequest {
    #[schema(value_type = String, max_length = 200, pattern = "^[A-Za-z0-9-]+$")]
    target_amqp_queue: PeerQueue,
}

/// Has a target asked again for all that it has confirmed: what it still holds it confirms once more,
/// what it has lost it takes anew. The next sync does it.
#[utoipa::path(
    post, path = "/admin/resend", tag = "admin", request_body = ResendRequest,
    security(("bearer" = [])),
    responses(
        (status = 201, body = TargetDone),
        (status = 400, description = "A field cannot be read", body = ProblemBody),
        (status = 401, body = ProblemBody, description = "No token"),
        (status = 404, description = "Not in the directory", body = ProblemBody),
        (status = 409, description = "Receive-only", body = ProblemBody),
        (status = 413, description = "The body is too long", body = ProblemBody),
        (status = 415, description = "The body is not JSON", body = ProblemBody),
        (status = 503, description = "The database or Redis is away", body = ProblemBody),
    )
)]
pub(super) async fn resend(
    State(app): State<App>,
    Body(ResendRequest { target_amqp_queue: target }): Body<ResendRequest>,
) -> Result<(StatusCode, Json<TargetDone>), Problem> {
    let known = app.management()?.fetch_peers().await.map_err(OperatorError::from)?;
    if !known.contains(&target) {
        return Err(OperatorError::UnknownTarget(target).into());
    }
    app.propagator.resend(target.clone()).await?;
    app.feed.tell(&Told::resend_wanted(&target));
    app.syncs.soon();
    let done = TargetDone { target_amqp_queue: target.into(), op: "target.resend" };
    Ok((StatusCode::CREATED, Json(done)))
}
