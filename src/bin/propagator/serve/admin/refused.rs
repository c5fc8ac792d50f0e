//! What is kept of refused messages.

use axum::Json;
use axum::extract::State;
use hmac_propagator::refused::{RefusedMessage, RefusedMessages};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::serve::app::App;
use crate::serve::problem::{Problem, ProblemBody};
use crate::serve::query::Params;

/// How many.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Newest {
    /// Most messages of the answer. Default: 20.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
}

/// Refused messages, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct RefusedList {
    refused: Vec<RefusedView>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RefusedView {
    /// Counts up over all replicas.
    number: u64,
    /// Milliseconds since the epoch.
    at: u64,
    /// `malformed`, `wrong_secret`, `unsigned`, `invalid`, `unknown_ack`, `foreign_ack` or `store`.
    reason: &'static str,
    detail: String,
    /// As claimed; null: unknown.
    sender_amqp_queue: Option<String>,
    /// The length of the message.
    bytes: u64,
    /// Of the message, in hex; null: it was too long.
    sha256: Option<String>,
    /// Its fields, secrets taken out; null: it was no JSON object, or too long.
    #[schema(value_type = Option<Object>)]
    message: Option<Value>,
}

impl From<RefusedMessage> for RefusedView {
    fn from(refused: RefusedMessage) -> Self {
        Self {
            number: refused.number,
            at: refused.at_ms,
            reason: refused.reason.as_str(),
            detail: refused.detail,
            sender_amqp_queue: refused.sender.map(String::from),
            bytes: refused.bytes,
            sha256: refused.sha256,
            message: refused.message.and_then(|text| serde_json::from_str(&text).ok()),
        }
    }
}

/// Messages that this peer, or a replica of it, refused: the last 100, each for 30 days.
#[utoipa::path(
    get, path = "/admin/refused", tag = "admin", params(Newest), security(("bearer" = [])),
    responses(
        (status = 200, body = RefusedList),
        (status = 400, description = "A parameter cannot be read", body = ProblemBody),
        (status = 401, body = ProblemBody, description = "No token"),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub(super) async fn refused(
    State(app): State<App>,
    Params(wanted): Params<Newest>,
) -> Result<Json<RefusedList>, Problem> {
    let limit = wanted.limit.unwrap_or(20);
    if !(1..=RefusedMessages::KEPT).contains(&limit) {
        return Err(Problem::bad_field("limit: expected 1 to 100"));
    }
    let found = app.propagator.refused_messages(limit).await?;
    Ok(Json(RefusedList { refused: found.into_iter().map(RefusedView::from).collect() }))
}
