//! Tells the source how its event ended, then settles the delivery. In this order: a crash in
//! between brings the event back, and it is answered again.

use super::triage::Declined;
use crate::core::Core;
use crate::event::Event;
use crate::id::{EventId, PeerQueue};
use crate::management::ManagementError;
use crate::secret::PropagationSecret;
use crate::store::{Applied, Change};
use crate::transport::{Delivery, PublishError};
use crate::wire::{AckEvent, ApplyReceived, Held};

/// An event took effect, or something newer stands.
pub(super) async fn applied(
    core: &Core,
    event: &ApplyReceived,
    applied: Applied,
    delivery: Delivery,
) {
    let (key, source) = (event.key.clone(), event.source.clone());
    core.hub.emit(match applied {
        Applied::Changed => Event::CredentialApplied {
            key,
            source: source.clone(),
            removed: matches!(event.change, Change::Delete),
        },
        Applied::Already | Applied::Stale(_) => {
            Event::CredentialUnchanged { key, source: source.clone() }
        }
    });
    // Nothing newer than the event is an `applied` without more; v1 says the same word for a stale
    // event, so what is held instead is added for sources that can tell.
    let held = match applied {
        Applied::Stale(held) => Some(Held { ts: held.ts, sender_amqp_queue: held.source }),
        Applied::Changed | Applied::Already => None,
    };
    let answer = Answer { to: &source, event_id: &event.version.event_id, error: None, held };
    if answer.send(core).await {
        delivery.ack().await;
    }
}

/// An event can never be applied.
pub(super) async fn decline(core: &Core, declined: Declined, delivery: Delivery) {
    let Declined { event_id, source, refusal, reason } = declined;
    core.hub.emit(Event::Refused {
        reason: refusal,
        detail: reason.clone(),
        sender: Some(source.clone()),
    });
    let answer = Answer { to: &source, event_id: &event_id, error: Some(&reason), held: None };
    if answer.send(core).await {
        delivery.ack().await;
    }
}

struct Answer<'a> {
    to: &'a PeerQueue,
    event_id: &'a EventId,
    error: Option<&'a str>,
    held: Option<Held>,
}

impl Answer<'_> {
    /// Publishes the answer. Returns whether the delivery is done with; otherwise the time to
    /// finish is over and it stays with the broker.
    async fn send(&self, core: &Core) -> bool {
        let Some(body) = self.body(core).await else {
            return false;
        };
        let publish = || core.transport.publish(self.to, body.clone());
        let transient = |error: &PublishError| match error {
            PublishError::Refused | PublishError::Unavailable => true,
            PublishError::Unroutable | PublishError::Closed => false,
        };
        match core.persist("answering a credential event", transient, publish).await {
            Some(Ok(())) => true,
            // The queue is the source's to declare: made here, every sender name that somebody
            // makes up would become a queue. The source asks again once it is back.
            Some(Err(PublishError::Unroutable)) => {
                core.hub.emit(Event::AnswerUndeliverable { source: self.to.clone() });
                true
            }
            Some(Err(_)) | None => false,
        }
    }

    async fn body(&self, core: &Core) -> Option<Vec<u8>> {
        let secret = source_secret(core, self.to).await?;
        let event_id = EventId::random(&*core.entropy);
        let ack = AckEvent {
            event_id: &event_id,
            ts: core.timestamp(),
            propagation_secret: secret.as_ref().map_or("", PropagationSecret::expose),
            sender_amqp_queue: &core.own,
            op: AckEvent::OP,
            ack_event_id: self.event_id,
            ack_result: if self.error.is_some() { "error" } else { "applied" },
            ack_reason: self.error,
            held: self.held.clone(),
        };
        Some(ack.to_body())
    }
}

/// The secret to sign with: from the configuration, else from the management side, else none.
/// `None` when the time to finish is over.
#[allow(clippy::option_option)]
async fn source_secret(core: &Core, source: &PeerQueue) -> Option<Option<PropagationSecret>> {
    if let Some(secret) = core.source_secrets.get(source) {
        return Some(Some(secret.clone()));
    }
    let Some(management) = &core.management else {
        return Some(None);
    };
    if let Some(secret) = core.known_sources.get(source, core.clock.now_ms()) {
        return Some(secret);
    }
    let fetch = || management.fetch_source_propagation_secret(source);
    let secret = core
        .persist("looking up a source's secret", ManagementError::is_transient, fetch)
        .await?
        // Refused for good: better an unsigned answer than none.
        .unwrap_or_default();
    core.known_sources.put(source, secret.clone(), core.clock.now_ms());
    Some(secret)
}
