//! `/rotate`: a new secret that nobody sees. Its holders sign with what their store holds.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use hmac_propagator::credentials::{GeneratedSecret, SecretLength};
use hmac_propagator::error::ErrorKind;
use hmac_propagator::id::{CredentialKey, Track};
use hmac_propagator::management::RowStatus;
use hmac_propagator::management::sql::{CredentialInfo, SqlManagement};
use hmac_propagator::propagator::Rotate;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::body::Body;
use super::clock;
use super::metrics;
use super::names;
use super::problem::{Problem, ProblemBody};

/// How many rotations of one secret in a row, before [`EVERY`] counts.
const BURST: NonZeroU32 = NonZeroU32::new(3).unwrap();
/// How often one secret may be rotated on the whole.
const EVERY: Duration = Duration::from_secs(20);
/// How many secrets may be rotated side by side.
const LOCKS: usize = 64;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(rotate)).route_layer(from_fn(metrics::count_rotation))
}

/// How often each secret may be rotated.
pub(crate) struct Limit {
    by_key: DefaultKeyedRateLimiter<CredentialKey>,
    /// Between the look whether a rotation is open and the next one, nobody else may rotate the same
    /// secret. A lock serves all secrets whose hash falls on it.
    locks: [Mutex<()>; LOCKS],
    hasher: RandomState,
}

impl Limit {
    pub(crate) fn new() -> Self {
        // None only for a period of zero.
        let quota = Quota::with_period(EVERY).unwrap_or(Quota::per_minute(BURST));
        Self {
            by_key: RateLimiter::keyed(quota.allow_burst(BURST)),
            locks: std::array::from_fn(|_| Mutex::new(())),
            hasher: RandomState::new(),
        }
    }

    async fn alone(&self, key: &CredentialKey) -> MutexGuard<'_, ()> {
        let hash = self.hasher.hash_one(key) % LOCKS as u64;
        self.locks[usize::try_from(hash).unwrap_or_default()].lock().await
    }

    fn check(&self, key: &CredentialKey) -> Result<(), Problem> {
        // Keys that were not used for long say nothing any more.
        self.by_key.retain_recent();
        self.by_key.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            let seconds = wait.as_secs_f64().ceil().max(1.0);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds")]
            let seconds = seconds as u64;
            let message = format!("this secret was rotated too often, try again in {seconds} s");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message)
                .retry_after(seconds)
        })
    }
}

/// What to rotate.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RotateRequest {
    /// The client whose secret it is.
    #[schema(pattern = "^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$")]
    secret_name: String,
    /// Also while the rotation before has not reached all targets.
    #[serde(default)]
    force: bool,
    #[schema(value_type = String, default = "http")]
    #[serde(default)]
    track: Track,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct RotateAnswer {
    /// Always true: what failed is told by its status.
    success: bool,
    result: RotateResult,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RotateResult {
    success: bool,
    rotation_id: String,
    /// Names the new key in `/secrets/{name}`.
    new_key_id: String,
    /// How long it took, in milliseconds.
    duration: f64,
    /// When it was done, RFC 3339.
    timestamp: String,
}

/// Gives a secret a new value that nobody sees: its holders sign with what their store holds.
#[utoipa::path(
    post, path = "/rotate", tag = "secrets", request_body = RotateRequest,
    security(("bearer" = [])),
    responses(
        (status = 200, body = RotateAnswer),
        (status = 400, description = "A field cannot be read", body = ProblemBody),
        (status = 401, body = ProblemBody, description = "No token"),
        (status = 404, description = "There is no such secret", body = ProblemBody),
        (status = 409, description = "The rotation before is still open; or receive-only", body = ProblemBody),
        (status = 413, description = "The body is too long", body = ProblemBody),
        (status = 415, description = "The body is not JSON", body = ProblemBody),
        (status = 429, description = "Rotated too often; see Retry-After", body = ProblemBody),
        (status = 503, description = "Redis or the database is away", body = ProblemBody),
    )
)]
async fn rotate(
    State(app): State<App>,
    Body(request): Body<RotateRequest>,
) -> Result<Json<RotateAnswer>, Problem> {
    let started = Instant::now();
    let management = app.management()?;
    let key = names::credential("secretName", &request.secret_name, request.track)?;
    let _one = app.rotations.alone(&key).await;
    let info = existing(management, &key).await?;
    if !request.force && is_open(&info) {
        let message = "the rotation before has not reached all targets; `force` rotates anyway";
        return Err(Problem::conflict("ROTATION_OPEN", message));
    }
    app.rotations.check(&key)?;
    let secret = GeneratedSecret::generate(SecretLength::default())?.reveal();
    let rotate = Rotate::new(key.client_id.clone(), secret).track(key.track);
    let rotated = app.propagator.rotate(rotate).await.map_err(|error| match error.kind() {
        ErrorKind::UnknownClient => unknown(),
        _ => error.into(),
    })?;
    app.syncs.soon();
    let new_key_id = key_id(rotated.revision.get());
    let result = RotateResult {
        success: true,
        rotation_id: format!("{key}:{}", rotated.revision),
        new_key_id,
        duration: started.elapsed().as_secs_f64() * 1000.0,
        timestamp: clock::now(),
    };
    Ok(Json(RotateAnswer { success: true, result }))
}

/// The credential, unless it is deleted.
///
/// # Errors
/// 404 when there is none.
pub(crate) async fn existing(
    management: &SqlManagement,
    key: &CredentialKey,
) -> Result<CredentialInfo, Problem> {
    let found = management.credential(key).await?;
    found.filter(|info| !info.deleted).ok_or_else(unknown)
}

/// Whether a target may still get its revision without anybody's doing.
fn is_open(info: &CredentialInfo) -> bool {
    info.targets.iter().any(|row| match row.status {
        RowStatus::Success => false,
        RowStatus::Error => row.retry_at_ms.is_some(),
        _ => true,
    })
}

/// How a key is called: it says which revision brought it and nothing of what it is.
pub(crate) fn key_id(revision: u64) -> String {
    format!("key-{revision}")
}

pub(crate) fn unknown() -> Problem {
    Problem::not_found("UNKNOWN_SECRET", "there is no secret of this name")
}
