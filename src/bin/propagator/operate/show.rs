//! Credentials and their targets, as JSON and as tables.

use hmac_propagator::management::RowStatus;
use hmac_propagator::management::sql::{CredentialInfo, TargetState};
use serde_json::{Value, json};

use super::table::{from_now, table, time};

/// Where a credential stands over all its targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Every target holds it.
    Complete,
    /// Some have not answered yet, or are tried again.
    Open,
    /// Nothing is open, but some have failed for good.
    Failed,
}

impl Standing {
    pub(super) fn of(info: &CredentialInfo) -> Self {
        if info.targets.iter().any(is_open) {
            Self::Open
        } else if info.targets.iter().all(|target| target.status == RowStatus::Success) {
            Self::Complete
        } else {
            Self::Failed
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Open => "open",
            Self::Failed => "failed",
        }
    }
}

/// Whether a target is still going to change by itself.
pub(super) fn is_open(target: &TargetState) -> bool {
    match target.status {
        RowStatus::Success => false,
        RowStatus::Error => target.retry_at_ms.is_some(),
        _ => true,
    }
}

pub(super) fn credential_json(info: &CredentialInfo) -> Value {
    json!({
        "clientId": info.key.client_id,
        "track": info.key.track,
        "revision": info.revision.get(),
        "deleted": info.deleted,
        "standing": Standing::of(info).as_str(),
        "allowedIps": info.allowed_ips,
        "expiresAt": info.expires_at_ms,
        "createdAt": info.created_at_ms,
        "updatedAt": info.updated_at_ms,
        "rotatedAt": info.rotated_at_ms,
        "rotateAfterMs": info.policy.map(|p| u64::try_from(p.interval().as_millis()).unwrap_or(u64::MAX)),
        "nextRotationAt": info.next_rotation_at_ms,
        "targets": targets_json(info),
    })
}

pub(super) fn targets_json(info: &CredentialInfo) -> Value {
    info.targets.iter().map(|target| target_json(info, target)).collect()
}

fn target_json(info: &CredentialInfo, target: &TargetState) -> Value {
    let settled = |status| (target.status == status).then_some(target.settled_at_ms).flatten();
    json!({
        "clientId": info.key.client_id,
        "track": info.key.track,
        "targetAmqpQueue": target.target,
        "status": target.status.as_str(),
        "attemptCount": target.attempts,
        "revision": target.revision.get(),
        "eventId": target.event_id.as_ref().map(|id| id.as_str()),
        "reason": target.last_error,
        "sentAt": target.sent_at_ms,
        "appliedAt": settled(RowStatus::Success),
        "failedAt": settled(RowStatus::Error),
        "retryAt": target.retry_at_ms,
    })
}

/// One line per target of these credentials.
pub(super) fn targets_table(infos: &[CredentialInfo], now_ms: u64) -> String {
    let rows = infos.iter().flat_map(|info| {
        info.targets.iter().map(move |target| {
            [
                info.key.to_string(),
                target.target.to_string(),
                target.status.as_str().to_owned(),
                target.attempts.to_string(),
                from_now(target.sent_at_ms, now_ms),
                from_now(target.retry_at_ms.filter(|_| is_open(target)), now_ms),
                target.last_error.clone().unwrap_or_else(|| "-".into()),
            ]
        })
    });
    let head = ["CREDENTIAL", "TARGET", "STATUS", "SENT", "LAST SENT", "NEXT TRY", "REASON"];
    table(head, rows.collect())
}

/// One line per credential.
pub(super) fn credentials_table(infos: &[CredentialInfo], now_ms: u64) -> String {
    let rows = infos.iter().map(|info| {
        let done = info.targets.iter().filter(|target| target.status == RowStatus::Success).count();
        [
            info.key.to_string(),
            if info.deleted { "revoked" } else { "in force" }.to_owned(),
            Standing::of(info).as_str().to_owned(),
            format!("{done}/{}", info.targets.len()),
            info.revision.get().to_string(),
            from_now(info.rotated_at_ms, now_ms),
            from_now(info.next_rotation_at_ms, now_ms),
            time(info.expires_at_ms),
        ]
    });
    let head = [
        "CREDENTIAL",
        "STATE",
        "STANDING",
        "HELD BY",
        "REVISION",
        "ROTATED",
        "NEXT ROTATION",
        "EXPIRES",
    ];
    table(head, rows.collect())
}
