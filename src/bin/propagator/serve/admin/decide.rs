//! Decisions about credentials.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hmac_propagator::id::{ClientId, CredentialKey, PeerQueue, Revision, Track};
use hmac_propagator::management::sql::RotationPolicy;
use hmac_propagator::propagator::{Ensure, EnsureOp, Revoke, Rotate};
use hmac_propagator::secret::ClientSecret;
use hmac_propagator::store::Expiry;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::serve::app::App;
use crate::serve::body::Body;
use crate::serve::fields::{ExpiresAt, PlainSecret, RotateAfter, Rules, chosen_or_made, present};
use crate::serve::problem::{Problem, ProblemBody};
use crate::serve::{clock, fields};

/// A credential to create or to change.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EnsureRequest {
    #[schema(value_type = String, min_length = 1, max_length = 256)]
    client_id: ClientId,
    /// Left out or null: one is made and shown once in the answer.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 4096)]
    secret: Option<PlainSecret>,
    /// Queues of peers that are to hold it, besides those that hold it already.
    #[schema(value_type = Vec<String>)]
    #[serde(default)]
    targets: Vec<PeerQueue>,
    /// `http` or `message`.
    #[schema(value_type = String, default = "http")]
    #[serde(default)]
    track: Track,
    /// Addresses and blocks that may use it; an empty list allows all. Left out: as it is.
    #[schema(value_type = Option<Vec<String>>)]
    #[serde(default, deserialize_with = "present")]
    allowed_ips: Option<Rules>,
    /// Milliseconds since the epoch or RFC 3339; null: never. Left out: as it is.
    #[schema(value_type = Option<ExpirySchema>)]
    #[serde(default)]
    expires_at: ExpiresAt,
    /// Days after which it is due for a new secret; null: never. Left out: as it is.
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 3650)]
    #[serde(default)]
    rotate_after_days: RotateAfter,
}

/// Milliseconds since the epoch, or a time as RFC 3339 writes it.
#[derive(ToSchema)]
#[schema(title = "Time")]
#[allow(dead_code, reason = "describes a field that is read by hand")]
#[serde(untagged)]
pub(crate) enum ExpirySchema {
    Milliseconds(u64),
    Rfc3339(String),
}

/// A credential that is to get a new secret.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RotateRequest {
    #[schema(value_type = String, min_length = 1, max_length = 256)]
    client_id: ClientId,
    /// Left out or null: one is made and shown once in the answer.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 4096)]
    secret: Option<PlainSecret>,
    #[schema(value_type = String, default = "http")]
    #[serde(default)]
    track: Track,
}

/// A credential to remove.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RevokeRequest {
    #[schema(value_type = String, min_length = 1, max_length = 256)]
    client_id: ClientId,
    /// Peers to remove it from, besides all that are on record.
    #[schema(value_type = Vec<String>)]
    #[serde(default)]
    targets: Vec<PeerQueue>,
    #[schema(value_type = String, default = "http")]
    #[serde(default)]
    track: Track,
}

/// What was decided.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Decided {
    client_id: String,
    /// `create` or `update` for ensure, `rotate`, `revoke`.
    op: &'static str,
    track: &'static str,
    /// The decision's version; rows carry the same number.
    revision: u64,
    /// The secret that was made, this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl Decided {
    fn new(key: &CredentialKey, op: &'static str, revision: Revision) -> Self {
        let client_id = key.client_id.as_str().to_owned();
        let (track, revision) = (key.track.as_str(), revision.get());
        Self { client_id, op, track, revision, secret: None }
    }

    fn showing(mut self, made: Option<ClientSecret>) -> Self {
        self.secret = made.map(|secret| secret.expose().to_owned());
        self
    }
}

type Answer = Result<(StatusCode, Json<Decided>), Problem>;

/// Creates a credential, or gives an existing one a new secret, targets or restrictions. It is in
/// effect at this peer when the answer comes; a sync brings it to the targets.
#[utoipa::path(
    post, path = "/admin/ensure", tag = "admin", request_body = EnsureRequest,
    security(("bearer" = [])),
    responses(
        (status = 201, body = Decided),
        (status = 400, description = "A field cannot be read", body = ProblemBody),
        (status = 401, body = ProblemBody, description = "No token"),
        (status = 409, description = "Receive-only, or overtaken by another decision", body = ProblemBody),
        (status = 413, description = "The body is too long", body = ProblemBody),
        (status = 415, description = "The body is not JSON", body = ProblemBody),
        (status = 422, description = "A target that is not in the directory, or this peer itself; an expiry that has passed", body = ProblemBody),
        (status = 503, description = "Redis or the database is away", body = ProblemBody),
    )
)]
pub(super) async fn ensure(State(app): State<App>, Body(request): Body<EnsureRequest>) -> Answer {
    let management = app.management()?;
    if let Expiry::At(ms) = request.expires_at.0
        && ms <= clock::now_ms()
    {
        return Err(Problem::impossible("expiresAt: expected a time to come"));
    }
    let key = CredentialKey::new(request.track, request.client_id);
    let (secret, made) = chosen_or_made(request.secret)?;
    let mut ensure = Ensure::new(key.client_id.clone(), secret)
        .track(key.track)
        .targets(request.targets)
        .expires_at(request.expires_at.0);
    if let Some(fields::Rules(rules)) = request.allowed_ips {
        ensure = ensure.allowed_ips(rules);
    }
    let ensured = app.propagator.ensure(ensure).await?;
    let policy = match request.rotate_after_days {
        RotateAfter::Keep => None,
        RotateAfter::Never => Some(None),
        RotateAfter::Days(days) => Some(Some(RotationPolicy::after_days(days))),
    };
    if let Some(policy) = policy {
        // Ensuring again is safe, and the secret that may have been made is of no use to anybody.
        management.set_rotation_policy(&key, policy).await?;
    }
    app.syncs.soon();
    let op = match ensured.op {
        EnsureOp::Create => "create",
        EnsureOp::Update => "update",
    };
    Ok((StatusCode::CREATED, Json(Decided::new(&key, op, ensured.revision).showing(made))))
}

/// Gives an existing credential a new secret; targets and restrictions stay.
#[utoipa::path(
    post, path = "/admin/rotate", tag = "admin", request_body = RotateRequest,
    security(("bearer" = [])),
    responses(
        (status = 201, body = Decided),
        (status = 400, description = "A field cannot be read", body = ProblemBody),
        (status = 401, body = ProblemBody, description = "No token"),
        (status = 404, description = "There is no such credential", body = ProblemBody),
        (status = 409, description = "Receive-only, or overtaken by another decision", body = ProblemBody),
        (status = 413, description = "The body is too long", body = ProblemBody),
        (status = 415, description = "The body is not JSON", body = ProblemBody),
        (status = 503, description = "Redis or the database is away", body = ProblemBody),
    )
)]
pub(super) async fn rotate(State(app): State<App>, Body(request): Body<RotateRequest>) -> Answer {
    app.management()?;
    let key = CredentialKey::new(request.track, request.client_id);
    let (secret, made) = chosen_or_made(request.secret)?;
    let rotate = Rotate::new(key.client_id.clone(), secret).track(key.track);
    let rotated = app.propagator.rotate(rotate).await?;
    app.syncs.soon();
    let decided = Decided::new(&key, "rotate", rotated.revision).showing(made);
    Ok((StatusCode::CREATED, Json(decided)))
}

/// Removes a credential: here at once, at all its targets by the next sync.
#[utoipa::path(
    post, path = "/admin/revoke", tag = "admin", request_body = RevokeRequest,
    security(("bearer" = [])),
    responses(
        (status = 201, body = Decided),
        (status = 400, description = "A field cannot be read", body = ProblemBody),
        (status = 401, body = ProblemBody, description = "No token"),
        (status = 409, description = "Receive-only, or overtaken by another decision", body = ProblemBody),
        (status = 413, description = "The body is too long", body = ProblemBody),
        (status = 415, description = "The body is not JSON", body = ProblemBody),
        (status = 422, description = "A target that is not in the directory, or this peer itself", body = ProblemBody),
        (status = 503, description = "Redis or the database is away", body = ProblemBody),
    )
)]
pub(super) async fn revoke(State(app): State<App>, Body(request): Body<RevokeRequest>) -> Answer {
    app.management()?;
    let key = CredentialKey::new(request.track, request.client_id);
    let revoke = Revoke::new(key.client_id.clone()).track(key.track).targets(request.targets);
    let revoked = app.propagator.revoke(revoke).await?;
    app.syncs.soon();
    Ok((StatusCode::CREATED, Json(Decided::new(&key, "revoke", revoked.revision))))
}
