//! The two callbacks that record decisions.

use serde_json::json;

use super::audit::{self, AuditAction, Note};
use super::db::{Tx, Value};
use super::dialect::{Column, Dialect};
use super::failure::Failure;
use super::stored::Stored;
use super::vault::Place;
use super::{Inner, rotation};
use crate::id::{Actor, CredentialKey, PeerQueue, Revision};
use crate::management::{
    Decision, ManagementError, RotateCredential, Rotated, StoredRestrictions, UpsertCredential,
    Upserted,
};
use crate::secret::{ClientSecret, SecretHash};
use crate::store::{AllowedIps, Expiry};

/// What a credential becomes.
struct New<'a> {
    key: &'a CredentialKey,
    revision: Revision,
    operation: &'static str,
    secret_hash: Option<&'a SecretHash>,
    plain_secret: Option<&'a ClientSecret>,
    restrictions: StoredRestrictions,
    actor: Option<&'a Actor>,
    now_ms: u64,
}

pub(super) async fn upsert(inner: &Inner, request: &UpsertCredential) -> Result<Upserted, Failure> {
    let UpsertCredential { key, revision, decision, targets, now_ms, .. } = request;
    let mut tx = inner.db.begin().await?;
    let old = Stored::lock(&mut tx, key).await?;
    check_directory(&mut tx, targets).await?;
    if let Some(old) = old.as_ref().filter(|old| old.revision >= *revision) {
        let repeat = old.revision == *revision
            && old.is_repeat(&mut tx, &inner.vault, key, decision).await?;
        if !repeat {
            return Err(ManagementError::stale_revision(old.revision).into());
        }
        let count = reopen(&mut tx, key, *revision, targets).await?;
        tx.commit().await?;
        let created = old.operation == "create";
        return Ok(Upserted { created, targets: count, stored: old.restrictions()? });
    }
    let existed = old.as_ref().is_some_and(Stored::exists);
    let new = upserted(request, old.as_ref())?;
    write(&mut tx, inner, old.as_ref(), &new).await?;
    let count = reopen(&mut tx, key, *revision, targets).await?;
    let action = match decision {
        Decision::Put { .. } => AuditAction::Ensure,
        Decision::Delete => AuditAction::Revoke,
    };
    note(&mut tx, inner, action, &new, *now_ms).await?;
    tx.commit().await?;
    Ok(Upserted { created: !existed, targets: count, stored: new.restrictions })
}

pub(super) async fn rotate(
    inner: &Inner,
    request: &RotateCredential,
) -> Result<Option<Rotated>, Failure> {
    let RotateCredential { key, revision, secret_hash, plain_secret, actor, now_ms } = request;
    let mut tx = inner.db.begin().await?;
    let Some(old) = Stored::lock(&mut tx, key).await? else { return Ok(None) };
    if old.revision >= *revision {
        let repeat = old.revision == *revision
            && old.has_hash(&mut tx, &inner.vault, key, secret_hash).await?;
        if !repeat {
            return Err(ManagementError::stale_revision(old.revision).into());
        }
        let targets = reopen(&mut tx, key, *revision, &[]).await?;
        tx.commit().await?;
        return Ok(Some(Rotated { targets, stored: old.restrictions()? }));
    }
    if !old.exists() {
        return Ok(None);
    }
    let new = New {
        key,
        revision: *revision,
        operation: "update",
        secret_hash: Some(secret_hash),
        plain_secret: plain_secret.as_ref(),
        restrictions: old.restrictions()?,
        actor: actor.as_ref(),
        now_ms: *now_ms,
    };
    write(&mut tx, inner, Some(&old), &new).await?;
    let targets = reopen(&mut tx, key, *revision, &[]).await?;
    note(&mut tx, inner, AuditAction::Rotate, &new, *now_ms).await?;
    tx.commit().await?;
    Ok(Some(Rotated { targets, stored: new.restrictions }))
}

fn upserted<'a>(
    request: &'a UpsertCredential,
    old: Option<&Stored>,
) -> Result<New<'a>, ManagementError> {
    let UpsertCredential { key, revision, decision, actor, now_ms, .. } = request;
    let new = New {
        key,
        revision: *revision,
        operation: "delete",
        secret_hash: None,
        plain_secret: None,
        restrictions: StoredRestrictions::default(),
        actor: actor.as_ref(),
        now_ms: *now_ms,
    };
    let Decision::Put { secret_hash, allowed_ips, expires_at, plain_secret } = decision else {
        return Ok(new);
    };
    let kept = old.filter(|old| old.exists());
    let allowed_ips = match (allowed_ips, kept, old) {
        (Some(named), ..) => Some(named.clone()),
        (None, Some(kept), _) => kept.restrictions()?.allowed_ips,
        // Targets may hold the allow-list of the deleted credential: they are told of none.
        (None, None, Some(_)) => Some(AllowedIps::default()),
        (None, None, None) => None,
    };
    let expires_at = match expires_at {
        Expiry::Keep => kept.and_then(Stored::expires_at),
        Expiry::Never => None,
        Expiry::At(ms) => Some(*ms),
    };
    Ok(New {
        operation: if kept.is_some() { "update" } else { "create" },
        secret_hash: Some(secret_hash),
        plain_secret: plain_secret.as_ref(),
        restrictions: StoredRestrictions { allowed_ips, expires_at },
        ..new
    })
}

/// All targets must be in the directory, and stay there until the transaction ends.
async fn check_directory(tx: &mut Tx, targets: &[PeerQueue]) -> Result<(), Failure> {
    if targets.is_empty() {
        return Ok(());
    }
    let batch = tx.dialect().batch(&[("queue", Column::Name)]);
    let lock = match tx.dialect() {
        Dialect::Postgres => " FOR SHARE OF d",
        other => other.for_share(),
    };
    let sql = format!(
        "SELECT d.queue FROM {batch} AS b CROSS JOIN hmac_propagation_targets AS d \
         WHERE d.queue = b.queue ORDER BY d.queue{lock}"
    );
    let known = tx.fetch(&sql, vec![one_column(targets)]).await?;
    let known = known.iter().map(|record| record.text("queue")).collect::<Result<Vec<_>, _>>()?;
    match targets.iter().find(|target| !known.iter().any(|known| known == target.as_str())) {
        Some(unknown) => Err(ManagementError::unknown_target(unknown.clone()).into()),
        None => Ok(()),
    }
}

/// Adds rows for new targets, sets rows of other revisions to pending at this one, and counts all.
async fn reopen(
    tx: &mut Tx,
    key: &CredentialKey,
    revision: Revision,
    add: &[PeerQueue],
) -> Result<u64, Failure> {
    let (track, client) = (key.track.as_str(), key.client_id.as_str());
    let revision = revision.get();
    if !add.is_empty() {
        let dialect = tx.dialect();
        let insert = format!(
            "INSERT INTO hmac_credential_targets \
                 (track, client_id, target, revision, status, is_open, attempts) \
             SELECT ?, ?, b.target, ?, 'pending', 1, 0 FROM {} AS b{}",
            dialect.batch(&[("target", Column::Name)]),
            dialect.unless_present()
        );
        let values = vec![track.into(), client.into(), revision.into(), one_column(add)];
        tx.execute(&insert, values).await?;
    }
    let reset = "UPDATE hmac_credential_targets SET revision = ?, status = 'pending', is_open = 1, \
         event_id = NULL, attempts = 0, retry_at = NULL, sent_at = NULL, settled_at = NULL, \
         proof = NULL, store_id = NULL, last_error = NULL, claimed_by = NULL, claimed_until = NULL \
         WHERE track = ? AND client_id = ? AND revision <> ?";
    let values = vec![revision.into(), track.into(), client.into(), revision.into()];
    tx.execute(reset, values).await?;
    let count =
        "SELECT COUNT(*) AS targets FROM hmac_credential_targets WHERE track = ? AND client_id = ?";
    let record = tx.fetch_one(count, vec![track.into(), client.into()]).await?;
    record.map_or(Ok(0), |record| record.count("targets"))
}

fn one_column(names: &[PeerQueue]) -> Value {
    let rows: Vec<_> = names.iter().map(|name| json!([name])).collect();
    json!(rows).to_string().into()
}

/// Writes the credential. Two workers may both find that it is not there yet: the second one's
/// insertion is refused, and its transaction starts anew.
async fn write(
    tx: &mut Tx,
    inner: &Inner,
    old: Option<&Stored>,
    new: &New<'_>,
) -> Result<(), Failure> {
    let New { key, revision, operation, restrictions, now_ms, .. } = new;
    let seal =
        |place, text: Option<&str>| text.map(|text| inner.vault.seal(place, text)).transpose();
    let hash = seal(Place::Hash(key, *revision), new.secret_hash.map(SecretHash::expose))?;
    let plain = seal(Place::Plain(key, *revision), new.plain_secret.map(ClientSecret::expose))?;
    let rules = restrictions.allowed_ips.as_ref().map(|rules| json!(rules.as_slice()).to_string());
    let mut columns: Vec<(&str, Value)> = vec![
        ("revision", revision.get().into()),
        ("operation", (*operation).into()),
        ("secret_hash", hash.into()),
        ("plain_secret", plain.into()),
        ("allowed_ips", rules.into()),
        ("expires_at", restrictions.expires_at.into()),
        ("unreported", true.into()),
        ("updated_at", (*now_ms).into()),
    ];
    if !keeps_secret(tx, inner, old, new).await? {
        let rotated = new.secret_hash.map(|_| *now_ms);
        let next =
            rotated.and_then(|at| rotation::next(at, old?.rotate_after?, old?.rotate_jitter));
        columns.extend([("rotated_at", rotated.into()), ("next_rotation_at", next.into())]);
    }
    let (names, mut values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let sql = if old.is_some() {
        let set: Vec<_> = names.iter().map(|name| format!("{name} = ?")).collect();
        format!(
            "UPDATE hmac_credentials SET {}, outcome = NULL, reported_at = NULL \
             WHERE track = ? AND client_id = ?",
            set.join(", ")
        )
    } else {
        values.push((*now_ms).into());
        format!(
            "INSERT INTO hmac_credentials ({}, created_at, track, client_id) VALUES ({})",
            names.join(", "),
            vec!["?"; names.len() + 3].join(", ")
        )
    };
    values.extend([key.track.as_str().into(), key.client_id.as_str().into()]);
    tx.execute(&sql, values).await.map(drop)
}

/// Whether the decision is about all but the secret: when the next one is due stays as it is, or
/// deciding the same again and again would put it off for ever. A stored hash that cannot be read is
/// taken for another one.
async fn keeps_secret(
    tx: &mut Tx,
    inner: &Inner,
    old: Option<&Stored>,
    new: &New<'_>,
) -> Result<bool, Failure> {
    let (Some(old), Some(hash)) = (old, new.secret_hash) else { return Ok(false) };
    match old.has_hash(tx, &inner.vault, new.key, hash).await {
        Ok(same) => Ok(same),
        Err(Failure::Final(error)) if !error.is_transient() => Ok(false),
        Err(failure) => Err(failure),
    }
}

async fn note(
    tx: &mut Tx,
    inner: &Inner,
    action: AuditAction,
    new: &New<'_>,
    now_ms: u64,
) -> Result<(), Failure> {
    let note = Note {
        revision: Some(new.revision.get()),
        detail: Some(new.operation.to_owned()),
        ..Note::of(now_ms, action, new.key)
    };
    let actor = new.actor.map_or(inner.actor.as_str(), Actor::as_str);
    audit::append(tx, actor, vec![note]).await
}
