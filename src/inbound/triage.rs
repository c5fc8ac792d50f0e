//! What a body is: decided from the bytes, the own secret and the clock alone.

use super::refusal::Refused;
use crate::core::Core;
use crate::event::Refusal;
use crate::id::{EventId, PeerQueue};
use crate::wire::{
    AckReceived, ApplyReceived, Envelope, Invalid, Message, check_not_ahead, interpret, is_ack,
};

/// What to do with a delivery.
#[derive(Debug)]
pub(super) enum Triage {
    Apply(Box<ApplyReceived>),
    Ack(AckReceived),
    /// Out of the way, without an answer.
    Drop(Refused),
    /// Out of the way; its sender is told why.
    Decline(Box<Declined>),
}

/// An event that can never be applied.
#[derive(Debug)]
pub(super) struct Declined {
    pub(super) event_id: EventId,
    pub(super) source: PeerQueue,
    pub(super) refusal: Refusal,
    pub(super) reason: String,
}

impl Declined {
    /// An event that was understood and still cannot be applied.
    pub(super) fn of(event: &ApplyReceived, reason: String) -> Self {
        Self {
            event_id: event.version.event_id.clone(),
            source: event.source.clone(),
            refusal: Refusal::Invalid,
            reason,
        }
    }
}

/// Follows the receiver's steps of the wire contract.
pub(super) fn triage(body: &[u8], core: &Core) -> Triage {
    let envelope = match Envelope::decode(body, core.limits.message_bytes) {
        Ok(envelope) => envelope,
        Err(error) => return refuse(Refusal::Malformed, error.to_string(), None),
    };
    let signed = core.secret.matches(&envelope.propagation_secret);
    // An empty secret says "I cannot sign": from a receive-only target that is no lie. Whether the
    // event went to one is known only when its record is read.
    let unsigned_ack = envelope.propagation_secret.is_empty() && is_ack(&envelope);
    if !signed && !unsigned_ack {
        let detail = "propagationSecret: expected this peer's own".to_owned();
        return refuse(Refusal::WrongSecret, detail, Some(envelope.sender));
    }
    let (event_id, source) = (envelope.event_id.clone(), envelope.sender.clone());
    let ack = is_ack(&envelope);
    match interpret(envelope, signed).and_then(|message| timely(message, core)) {
        Ok(Message::Apply(event)) => Triage::Apply(event),
        Ok(Message::Ack(ack)) => Triage::Ack(ack),
        // An answer is never answered.
        Err(Invalid(reason)) if ack => refuse(Refusal::Invalid, reason, Some(source)),
        Err(Invalid(reason)) => Triage::Decline(Box::new(Declined {
            event_id,
            source,
            refusal: Refusal::Invalid,
            reason,
        })),
    }
}

fn timely(message: Message, core: &Core) -> Result<Message, Invalid> {
    if let Message::Apply(event) = &message {
        let most_ahead_ms = u64::try_from(core.limits.most_ahead.as_millis()).unwrap_or(u64::MAX);
        check_not_ahead(event.version.ts, core.clock.now_ms(), most_ahead_ms)?;
    }
    Ok(message)
}

fn refuse(reason: Refusal, detail: String, sender: Option<PeerQueue>) -> Triage {
    Triage::Drop(Refused { reason, detail, sender })
}
