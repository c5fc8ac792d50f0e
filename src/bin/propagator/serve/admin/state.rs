//! What the database says: credentials, targets, and where each stands with each.

use axum::Json;
use axum::extract::State;
use hmac_propagator::credentials::{Credentials, Listed};
use hmac_propagator::id::{ClientId, CredentialKey, Track};
use hmac_propagator::management::sql::{CredentialInfo, SqlManagement, TargetInfo, TargetState};
use hmac_propagator::management::{Proof, RowStatus};
use hmac_propagator::store::RedisCredentialStore;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::serve::app::App;
use crate::serve::fields::days;
use crate::serve::problem::{Problem, ProblemBody};
use crate::serve::query::Params;

/// Most credentials of one answer.
const MOST: usize = 10_000;
/// How many are read from the database at a time.
const PAGE: usize = 500;

/// Which part. Without a limit all, up to 10,000 credentials.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Part {
    /// Most credentials of the answer.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<usize>,
    /// Only what comes after: the `next` of the answer before.
    after: Option<String>,
}

/// The state of a peer.
#[derive(Serialize, ToSchema)]
pub(crate) struct PeerState {
    credentials: Vec<CredentialView>,
    /// All targets of the directory.
    targets: Vec<TargetView>,
    /// One for each of these credentials and each of its targets.
    pivots: Vec<PivotView>,
    /// Where to go on; null: that was all.
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CredentialView {
    client_id: String,
    track: &'static str,
    /// Null on a receive-only peer.
    revision: Option<u64>,
    deleted: bool,
    allowed_ips: Option<Vec<String>>,
    /// This and all other times: milliseconds since the epoch.
    expires_at: Option<u64>,
    created_at: Option<u64>,
    updated_at: Option<u64>,
    rotated_at: Option<u64>,
    rotate_after_days: Option<u64>,
    next_rotation_at: Option<u64>,
    /// How its revision ended: `success`, `partial`, `error`; null: not yet.
    outcome: Option<&'static str>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TargetView {
    target_amqp_queue: String,
    receive_only: bool,
    note: Option<String>,
    created_at: u64,
    updated_at: u64,
    /// How many credentials have it.
    credentials: u64,
    /// Of these, how many rows are open.
    open: u64,
    /// And how many have failed for good.
    failed: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PivotView {
    client_id: String,
    track: &'static str,
    target_amqp_queue: String,
    /// `pending`, `sent`, `success` or `error`.
    status: &'static str,
    attempt_count: u64,
    revision: u64,
    /// Why it failed last.
    reason: Option<String>,
    /// When the broker last confirmed it.
    sent_at: Option<u64>,
    /// When the target proved that it holds it.
    applied_at: Option<u64>,
    /// When it failed for good.
    failed_at: Option<u64>,
    /// When it is tried again.
    retry_at: Option<u64>,
    /// How the target proved it: `signed` or `receive_only`.
    proof: Option<&'static str>,
}

/// Credentials, targets and rows. On a receive-only peer: the credentials that its own stores hold.
#[utoipa::path(
    get, path = "/admin/state", tag = "admin", params(Part), security(("bearer" = [])),
    responses(
        (status = 200, body = PeerState),
        (status = 400, description = "A parameter cannot be read", body = ProblemBody),
        (status = 401, body = ProblemBody, description = "No token"),
        (status = 503, description = "Redis or the database is away", body = ProblemBody),
    )
)]
pub(super) async fn state(
    State(app): State<App>,
    Params(part): Params<Part>,
) -> Result<Json<PeerState>, Problem> {
    let limit = part.limit.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::bad_field("limit: expected 1 to 10000"));
    }
    let after = part.after.as_deref().map(cursor).transpose()?;
    let state = match &app.parts.management {
        Some(management) => from_database(management, after, limit).await?,
        None => from_stores(&app, after, limit).await?,
    };
    Ok(Json(state))
}

/// `http:webshop`
fn cursor(text: &str) -> Result<CredentialKey, Problem> {
    let read = text.split_once(':').and_then(|(track, client)| {
        Some(CredentialKey::new(track.parse().ok()?, ClientId::new(client).ok()?))
    });
    read.ok_or_else(|| Problem::bad_field("after: expected the `next` of the answer before"))
}

async fn from_database(
    management: &SqlManagement,
    mut after: Option<CredentialKey>,
    limit: usize,
) -> Result<PeerState, Problem> {
    let targets = management.targets().await?.into_iter().map(TargetView::from).collect();
    let mut state = PeerState { credentials: Vec::new(), targets, pivots: Vec::new(), next: None };
    loop {
        let wanted = (limit - state.credentials.len()).min(PAGE);
        // One more than wanted says whether there is a next page.
        let most = u32::try_from(wanted + 1).unwrap_or(u32::MAX);
        let mut page = management.credentials(after.as_ref(), most).await?;
        let more = page.len() > wanted;
        page.truncate(wanted);
        after = page.last().map(|info| info.key.clone());
        for info in page {
            let key = info.key.clone();
            let rows = info.targets.iter().map(|row| PivotView::new(&key, row));
            state.pivots.extend(rows);
            state.credentials.push(info.into());
        }
        if !more {
            return Ok(state);
        }
        if state.credentials.len() >= limit {
            state.next = after.map(|key| key.to_string());
            return Ok(state);
        }
    }
}

/// In the order of their keys, as from a database: a store has no order of its own.
async fn from_stores(
    app: &App,
    after: Option<CredentialKey>,
    limit: usize,
) -> Result<PeerState, Problem> {
    let mut found = Vec::new();
    for (track, store) in [(Track::Http, &app.parts.http), (Track::Message, &app.parts.message)] {
        for listed in all(app, store).await? {
            let key = CredentialKey::new(track, listed.client_id.clone());
            if after.as_ref().is_none_or(|after| *after < key) {
                found.push((key, listed));
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found.dedup_by(|(a, _), (b, _)| a == b);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(key, _)| key.to_string());
    let credentials = found.into_iter().map(|(key, listed)| held(key, listed)).collect();
    Ok(PeerState { credentials, targets: Vec::new(), pivots: Vec::new(), next })
}

async fn all(app: &App, store: &RedisCredentialStore) -> Result<Vec<Listed>, Problem> {
    let credentials = Credentials::new(store.clone(), app.parts.config.secret_token.clone());
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = credentials.list(after).await?;
        found.extend(page);
        if next.is_none() {
            return Ok(found);
        }
        after = next;
    }
}

fn held(key: CredentialKey, listed: Listed) -> CredentialView {
    let credential = listed.credential;
    let known = |ms: u64| (ms > 0).then_some(ms);
    CredentialView {
        client_id: key.client_id.into(),
        track: key.track.as_str(),
        revision: None,
        deleted: false,
        expires_at: credential.as_ref().and_then(|held| held.expires_at),
        created_at: credential.as_ref().and_then(|held| known(held.created_at)),
        updated_at: credential.as_ref().and_then(|held| known(held.updated_at)),
        allowed_ips: credential.map(|held| held.allowed_ips),
        rotated_at: None,
        rotate_after_days: None,
        next_rotation_at: None,
        outcome: None,
    }
}

impl From<CredentialInfo> for CredentialView {
    fn from(info: CredentialInfo) -> Self {
        Self {
            client_id: info.key.client_id.into(),
            track: info.key.track.as_str(),
            revision: Some(info.revision.get()),
            deleted: info.deleted,
            allowed_ips: info.allowed_ips,
            expires_at: info.expires_at_ms,
            created_at: Some(info.created_at_ms),
            updated_at: Some(info.updated_at_ms),
            rotated_at: info.rotated_at_ms,
            rotate_after_days: info.policy.map(|policy| days(policy.interval())),
            next_rotation_at: info.next_rotation_at_ms,
            outcome: info.reported.map(|outcome| outcome.as_str()),
        }
    }
}

impl From<TargetInfo> for TargetView {
    fn from(info: TargetInfo) -> Self {
        Self {
            target_amqp_queue: info.queue.into(),
            receive_only: info.receive_only,
            note: info.note,
            created_at: info.created_at_ms,
            updated_at: info.updated_at_ms,
            credentials: info.credentials,
            open: info.open,
            failed: info.failed,
        }
    }
}

impl PivotView {
    fn new(key: &CredentialKey, row: &TargetState) -> Self {
        Self {
            client_id: key.client_id.as_str().to_owned(),
            track: key.track.as_str(),
            target_amqp_queue: row.target.as_str().to_owned(),
            status: row.status.as_str(),
            attempt_count: row.attempts,
            revision: row.revision.get(),
            reason: row.last_error.clone(),
            sent_at: row.sent_at_ms,
            applied_at: row.settled_at_ms.filter(|_| row.status == RowStatus::Success),
            failed_at: row.settled_at_ms.filter(|_| row.status == RowStatus::Error),
            retry_at: row.retry_at_ms,
            proof: row.proof.and_then(|proof| match proof {
                Proof::Signed => Some("signed"),
                Proof::ReceiveOnly => Some("receive_only"),
                _ => None,
            }),
        }
    }
}
