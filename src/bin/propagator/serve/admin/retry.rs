//! Failed rows, tried again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hmac_propagator::id::{ClientId, CredentialKey, PeerQueue, Track};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::serve::app::App;
use crate::serve::body::Body;
use crate::serve::events::Told;
use crate::serve::problem::{Problem, ProblemBody};

/// A row that failed.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RetryRequest {
    #[schema(value_type = String)]
    client_id: ClientId,
    #[schema(value_type = String, default = "http")]
    #[serde(default)]
    track: Track,
    #[schema(value_type = String)]
    target_amqp_queue: PeerQueue,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Retried {
    client_id: String,
    track: &'static str,
    target_amqp_queue: String,
    /// `target.retry`
    op: &'static str,
}

/// Opens a row that has failed, for good or until later: the next sync sends it.
#[utoipa::path(
    post, path = "/admin/retry", tag = "admin", request_body = RetryRequest,
    security(("bearer" = [])),
    responses(
        (status = 201, body = Retried),
        (status = 400, description = "A field cannot be read", body = ProblemBody),
        (status = 401, body = ProblemBody, description = "No token"),
        (status = 404, description = "There is no such row", body = ProblemBody),
        (status = 409, description = "It has not failed; or receive-only", body = ProblemBody),
        (status = 413, description = "The body is too long", body = ProblemBody),
        (status = 415, description = "The body is not JSON", body = ProblemBody),
        (status = 503, description = "The database is away", body = ProblemBody),
    )
)]
pub(super) async fn retry(
    State(app): State<App>,
    Body(request): Body<RetryRequest>,
) -> Result<(StatusCode, Json<Retried>), Problem> {
    let management = app.management()?;
    let key = CredentialKey::new(request.track, request.client_id);
    management.retry_target(&key, &request.target_amqp_queue).await?;
    app.feed.tell(&Told::retried(&key, &request.target_amqp_queue));
    app.syncs.soon();
    let retried = Retried {
        client_id: key.client_id.into(),
        track: key.track.as_str(),
        target_amqp_queue: request.target_amqp_queue.into(),
        op: "target.retry",
    };
    Ok((StatusCode::CREATED, Json(retried)))
}
