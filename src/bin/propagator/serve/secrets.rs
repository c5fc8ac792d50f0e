//! `/secrets/{name}`: where a secret stands. Never what it is.

use axum::Json;
use axum::extract::State;
use hmac_propagator::id::{CredentialKey, Track};
use hmac_propagator::management::RowStatus;
use hmac_propagator::management::sql::{AuditAction, AuditQuery, CredentialInfo, SqlManagement};
use hmac_propagator::store::CredentialStore;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::problem::{Problem, ProblemBody};
use super::query::{Named, Params};
use super::rotate::{key_id, unknown};
use super::{clock, names};

/// How many keys before the current one are named.
const EARLIER: u32 = 20;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(secret))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// `http` (the default) or `message`.
    #[param(value_type = Option<String>)]
    track: Option<Track>,
}

/// Where a secret stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SecretView {
    name: String,
    track: &'static str,
    state: KeyState,
    /// How often it got a new value by rotation; null where another peer decides about it.
    rotation_count: Option<u64>,
    /// When it last got a new value, milliseconds since the epoch.
    last_rotation: Option<u64>,
    /// When the next one is due.
    next_rotation: Option<u64>,
    keys: Keys,
}

/// Its keys by their state, newest first. Keys that were replaced are `expired`.
#[derive(Default, Serialize, ToSchema)]
struct Keys {
    pending: Vec<KeyView>,
    active: Vec<KeyView>,
    expired: Vec<KeyView>,
    revoked: Vec<KeyView>,
    failed: Vec<KeyView>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct KeyView {
    key_id: String,
    /// Since when it exists, milliseconds since the epoch.
    created_at: u64,
}

/// `pending`: not yet at all targets; `failed`: a target has it not and will not get it by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum KeyState {
    Pending,
    Active,
    Expired,
    Revoked,
    Failed,
}

/// State, rotations and keys of a secret, without any key material.
#[utoipa::path(
    get, path = "/secrets/{name}", tag = "secrets", security(("bearer" = [])),
    params(("name" = String, Path, description = "The client whose secret it is"), Which),
    responses(
        (status = 200, body = SecretView),
        (status = 400, description = "No name of a secret", body = ProblemBody),
        (status = 401, body = ProblemBody, description = "No token"),
        (status = 404, description = "There never was one", body = ProblemBody),
        (status = 503, description = "Redis or the database is away", body = ProblemBody),
    )
)]
async fn secret(
    State(app): State<App>,
    Named(name): Named,
    Params(which): Params<Which>,
) -> Result<Json<SecretView>, Problem> {
    let key = names::credential("name", &name, which.track.unwrap_or_default())?;
    if let Some(management) = &app.parts.management
        && let Some(view) = from_database(management, &key).await?
    {
        return Ok(Json(view));
    }
    // Another peer decides about it, or nobody does.
    from_store(&app, &key).await.map(Json)
}

async fn from_database(
    management: &SqlManagement,
    key: &CredentialKey,
) -> Result<Option<SecretView>, Problem> {
    let Some(info) = management.credential(key).await? else { return Ok(None) };
    let rotations = AuditQuery::newest(1).of(key.clone()).actions([AuditAction::Rotate]);
    let rotation_count = management.audit_count(&rotations).await?;
    let decided = [AuditAction::Ensure, AuditAction::Rotate, AuditAction::Revoke];
    let history = AuditQuery::newest(EARLIER + 1).of(key.clone()).actions(decided);
    let history = management.audit(&history).await?;
    let state = state_of(&info, clock::now_ms());
    let mut keys = Keys::default();
    for entry in &history {
        let (Some(revision), false) = (entry.revision, entry.action == "revoke") else { continue };
        let view = KeyView { key_id: key_id(revision), created_at: entry.at_ms };
        let is_current = revision == info.revision.get();
        keys.of(if is_current { state } else { replaced(&info) }).push(view);
    }
    Ok(Some(SecretView {
        name: key.client_id.as_str().to_owned(),
        track: key.track.as_str(),
        state,
        rotation_count: Some(rotation_count),
        last_rotation: info.rotated_at_ms,
        next_rotation: info.next_rotation_at_ms,
        keys,
    }))
}

/// A deletion ends all keys.
fn replaced(info: &CredentialInfo) -> KeyState {
    if info.deleted { KeyState::Revoked } else { KeyState::Expired }
}

fn state_of(info: &CredentialInfo, now_ms: u64) -> KeyState {
    let failed = |status, retry_at: Option<u64>| status == RowStatus::Error && retry_at.is_none();
    if info.deleted {
        KeyState::Revoked
    } else if info.expires_at_ms.is_some_and(|at| at <= now_ms) {
        KeyState::Expired
    } else if info.targets.iter().any(|row| failed(row.status, row.retry_at_ms)) {
        KeyState::Failed
    } else if info.targets.iter().any(|row| row.status != RowStatus::Success) {
        KeyState::Pending
    } else {
        KeyState::Active
    }
}

/// What a peer knows that does not decide about it: the key that it was sent.
async fn from_store(app: &App, key: &CredentialKey) -> Result<SecretView, Problem> {
    let store = match key.track {
        Track::Http => &app.parts.http,
        Track::Message => &app.parts.message,
    };
    let get = store.get(&key.client_id).await.map_err(hmac_propagator::error::Error::from)?;
    let held = get.ok_or_else(unknown)?;
    let expired = held.expires_at.is_some_and(|at| at <= clock::now_ms());
    let state = if expired { KeyState::Expired } else { KeyState::Active };
    let mut keys = Keys::default();
    let updated = (held.updated_at > 0).then_some(held.updated_at);
    let view = KeyView { key_id: key_id(held.updated_at), created_at: held.updated_at };
    keys.of(state).push(view);
    Ok(SecretView {
        name: key.client_id.as_str().to_owned(),
        track: key.track.as_str(),
        state,
        rotation_count: None,
        last_rotation: updated,
        next_rotation: None,
        keys,
    })
}

impl Keys {
    fn of(&mut self, state: KeyState) -> &mut Vec<KeyView> {
        match state {
            KeyState::Pending => &mut self.pending,
            KeyState::Active => &mut self.active,
            KeyState::Expired => &mut self.expired,
            KeyState::Revoked => &mut self.revoked,
            KeyState::Failed => &mut self.failed,
        }
    }
}
