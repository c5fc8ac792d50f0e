//! Checks what the management side gives: each entry by itself, so that a bad one harms no other.

use sha2::{Digest, Sha256};

use crate::core::Core;
use crate::cursor::{Cursor, Timestamp};
use crate::event::Event;
use crate::id::{ClientId, CredentialKey, EventId, PeerQueue, Revision};
use crate::ledger::{ClaimRequest, InFlight};
use crate::management::{
    Operation, Outcome, PendingPropagation, PendingTarget, PendingWork, TargetError,
};
use crate::secret::{PropagationSecret, SecretHash};
use crate::settlement::{Failure, row_key};
use crate::store::{AllowedIps, Change, Expiry};
use crate::wire::{ApplyEvent, Payload};

/// An entry that can be worked on.
#[derive(Debug)]
pub(super) enum Work {
    Deliver(Box<Job>),
    Report(Report),
}

/// A revision that no row is open for and that was not reported.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) key: CredentialKey,
    pub(super) revision: Revision,
    pub(super) outcome: Outcome,
    /// What it decided, where that is usable.
    pub(super) change: Option<Change>,
}

/// One row to deliver.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) claim: ClaimRequest,
    pub(super) change: Change,
    op: &'static str,
    secret: PropagationSecret,
}

/// An entry that cannot.
#[derive(Debug)]
pub(super) enum Unusable {
    /// Its row says why.
    Row(Box<Failure>),
    /// It does not even name a row.
    Unnamed(Event),
}

/// Checks one entry.
pub(super) fn check(core: &Core, entry: PendingPropagation) -> Result<Work, Unusable> {
    let PendingPropagation { track, client_id, revision, operation, work } = entry;
    let queue = match &work {
        PendingWork::Deliver(target) => shorten(&target.queue),
        PendingWork::Report { .. } => String::new(),
    };
    let unnamed = |reason: &str| {
        Unusable::Unnamed(Event::RowUnusable {
            client: shorten(&client_id),
            target: queue.clone(),
            reason: reason.to_owned(),
        })
    };
    let client = ClientId::new(client_id.as_str()).map_err(|e| unnamed(&e.to_string()))?;
    let key = CredentialKey::new(track, client);
    let target = match work {
        PendingWork::Report { succeeded, failed } => {
            let outcome = Outcome::of(succeeded, failed);
            let change = change(operation).map(|(_, change)| change).ok();
            return Ok(Work::Report(Report { key, revision, outcome, change }));
        }
        PendingWork::Deliver(target) => target,
    };
    let queue = PeerQueue::new(target.queue.as_str()).map_err(|e| unnamed(&e.to_string()))?;
    let removed = operation == Operation::Delete;
    let receive_only = target.receive_only;
    let flight =
        InFlight { key, target: queue, revision, receive_only, removed, again: false, tried: None };
    job(core, flight.clone(), operation, target).map(|job| Work::Deliver(Box::new(job))).map_err(
        |reason| {
            let at_ms = core.clock.now_ms();
            let error = TargetError {
                row: row_key(&flight),
                reason,
                retry_at_ms: None,
                answered: None,
                at_ms,
            };
            Unusable::Row(Box::new(Failure { error, removed }))
        },
    )
}

fn job(
    core: &Core,
    flight: InFlight,
    operation: Operation,
    target: PendingTarget,
) -> Result<Job, String> {
    if flight.target == core.own {
        return Err("target: expected another peer, this is the authority's own queue".into());
    }
    let secret = target
        .propagation_secret
        .ok_or("propagation secret: expected one in the directory of targets")?;
    let (op, change) = change(operation)?;
    let prefix = tie_break(&core.own, &flight.key, flight.revision);
    let fresh_event = EventId::with_prefix(prefix, &*core.entropy);
    // The prefix tells whether the remembered event is one of this revision: an adapter that does
    // not reset it would otherwise lend an old event's id to the new revision, and a late answer
    // to the old one would count for the new.
    let known_event = target.event_id.filter(|known| known.has_prefix(prefix));
    let claim = ClaimRequest {
        flight,
        status: target.status,
        attempts: target.attempts,
        known_event,
        fresh_event,
    };
    Ok(Job { claim, change, op, secret })
}

/// What was decided, and the word for it.
pub(super) fn change(operation: Operation) -> Result<(&'static str, Change), String> {
    let Operation::Put { create, secret_hash, allowed_ips, expires_at } = operation else {
        return Ok(("credential.delete", Change::Delete));
    };
    let change = Change::Put {
        secret_hash: SecretHash::parse(&secret_hash).map_err(|e| e.to_string())?,
        allowed_ips: allowed_ips
            .map(|rules| AllowedIps::parse(&rules))
            .transpose()
            .map_err(|e| e.to_string())?,
        expires_at: expires_at.map_or(Expiry::Never, Expiry::At),
    };
    Ok((if create { "credential.create" } else { "credential.update" }, change))
}

impl Job {
    /// The message that carries the row.
    pub(super) fn body(&self, core: &Core, event_id: &EventId) -> Vec<u8> {
        let payload = match &self.change {
            Change::Put { secret_hash, allowed_ips, expires_at } => Payload {
                secret_hash: secret_hash.expose(),
                allowed_ips: allowed_ips.as_ref().map(AllowedIps::as_slice),
                expires_at: match expires_at {
                    Expiry::At(ms) => Some(*ms),
                    Expiry::Never | Expiry::Keep => None,
                },
            },
            Change::Delete => Payload { secret_hash: "", allowed_ips: None, expires_at: None },
        };
        let InFlight { key, revision, .. } = &self.claim.flight;
        ApplyEvent {
            event_id,
            ts: Timestamp::from(*revision),
            propagation_secret: self.secret.expose(),
            sender_amqp_queue: &core.own,
            op: self.op,
            track: key.track,
            client_id: &key.client_id,
            payload,
        }
        .to_body()
    }
}

/// The version under which the authority's own store applies a revision. Its id is the same however
/// often it is applied; nobody answers it, so it may be guessed.
pub(crate) fn local_version(core: &Core, key: &CredentialKey, revision: Revision) -> Cursor {
    let digest = digest(&core.own, key, revision);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Cursor {
        ts: revision.into(),
        event_id: EventId::from_bytes(bytes),
        source: Some(core.own.clone()),
    }
}

/// The first bytes of every event id of one revision. When two sources pick the same `ts`, event
/// ids decide, and every peer must come to the same winner although each got ids of its own.
fn tie_break(own: &PeerQueue, key: &CredentialKey, revision: Revision) -> [u8; 4] {
    let digest = digest(own, key, revision);
    [digest[0], digest[1], digest[2], digest[3]]
}

fn digest(own: &PeerQueue, key: &CredentialKey, revision: Revision) -> [u8; 32] {
    Sha256::digest(format!(
        "{own}
{key}
{revision}"
    ))
    .into()
}

fn shorten(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(64).collect()
}
