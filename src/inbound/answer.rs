//! Tells the source how its event ended, then settles the delivery. In this order: a crash in
//! between brings the event back, and it is answered again.
//!
//! What the event did is durable already. So a source that cannot be answered for a while is let go
//! of and asks again: its deliveries must not fill the window that all sources share.

use super::refusal::{self, Refused};
use super::triage::Declined;
use crate::core::Core;
use crate::event::Event;
use crate::id::{EventId, PeerQueue};
use crate::secret::PropagationSecret;
use crate::store::{Applied, Change, StoreId};
use crate::transport::{Delivery, PublishError};
use crate::wire::{AckEvent, ApplyReceived, Held, StoreNamed};

/// An event took effect, or something newer stands.
pub(super) async fn applied(
    core: &Core,
    event: &ApplyReceived,
    applied: Applied,
    store: Option<StoreId>,
    delivery: Delivery,
) {
    let store = store.map(|id| StoreNamed { track: event.key.track, id });
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
    let answer =
        Answer { to: &source, event_id: &event.version.event_id, error: None, held, store };
    answer.deliver(core, delivery).await;
}

/// An event can never be applied.
pub(super) async fn decline(core: &Core, declined: Declined, delivery: Delivery) {
    let Declined { event_id, source, refusal: word, reason } = declined;
    let refused = Refused { reason: word, detail: reason.clone(), sender: Some(source.clone()) };
    refusal::tell(core, refused, &delivery).for_a_moment().await;
    let answer =
        Answer { to: &source, event_id: &event_id, error: Some(&reason), held: None, store: None };
    answer.deliver(core, delivery).await;
}

/// After so many failures (about ten seconds) that are not the broker's, the source is let go of.
const PATIENCE: u32 = 6;

struct Answer<'a> {
    to: &'a PeerQueue,
    event_id: &'a EventId,
    error: Option<&'a str>,
    held: Option<Held>,
    /// The store that was there before the event was applied.
    store: Option<StoreNamed>,
}

/// Why an answer did not go out.
enum Unsent {
    /// There is no such queue. It is the source's to declare: made here, every sender name that
    /// somebody makes up would become a queue.
    NoQueue,
    /// It may work later. With `broker`, nothing at all can be published now.
    Failed { reason: String, broker: bool },
    /// The peer is closing.
    Closed,
}

impl Answer<'_> {
    /// Publishes the answer and settles the delivery.
    async fn deliver(&self, core: &Core, delivery: Delivery) {
        let mut failures = 0;
        // A delivery whose connection has ended comes again, and that copy will be answered.
        while !delivery.is_dead() {
            match self.send(core, failures >= PATIENCE).await {
                Ok(()) => return delivery.ack().await,
                Err(Unsent::Closed) => return,
                Err(Unsent::Failed { broker, .. }) if !broker && failures >= PATIENCE => break,
                Err(Unsent::NoQueue) => break,
                Err(Unsent::Failed { reason, .. }) => {
                    let what = "answering a credential event";
                    core.hub.emit(Event::Retrying { what, reason });
                }
            }
            if !core.pause(failures).await {
                return;
            }
            failures = failures.saturating_add(1);
        }
        if !delivery.is_dead() {
            core.hub.emit(Event::AnswerUndeliverable { source: self.to.clone() });
            delivery.ack().await;
        }
    }

    async fn send(&self, core: &Core, last: bool) -> Result<(), Unsent> {
        let secret = core
            .secret_of_source(self.to, last)
            .await
            .map_err(|error| Unsent::Failed { reason: error.to_string(), broker: false })?;
        let broker = !core.transport.health().borrow().publisher.is_up();
        match core.transport.publish(self.to, self.body(core, secret.as_ref())).await {
            Ok(()) => Ok(()),
            Err(PublishError::Unroutable) => Err(Unsent::NoQueue),
            Err(PublishError::Closed) => Err(Unsent::Closed),
            Err(error @ (PublishError::Refused | PublishError::Unavailable)) => {
                Err(Unsent::Failed { reason: error.to_string(), broker })
            }
        }
    }

    fn body(&self, core: &Core, secret: Option<&PropagationSecret>) -> Vec<u8> {
        let event_id = EventId::random(&*core.entropy);
        let ack = AckEvent {
            event_id: &event_id,
            ts: core.timestamp(),
            propagation_secret: secret.map_or("", PropagationSecret::expose),
            sender_amqp_queue: &core.own,
            op: AckEvent::OP,
            ack_event_id: self.event_id,
            ack_result: if self.error.is_some() { "error" } else { "applied" },
            ack_reason: self.error,
            held: self.held.clone(),
            store: self.store.clone(),
        };
        ack.to_body()
    }
}
