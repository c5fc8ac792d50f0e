//! A deployed peer of the Node package, with its habits: one message at a time, the record before the
//! cursor, `applied` also for what it skips, failures requeued at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::disk::{Books, cursor_key, record_key};
use super::link::Link;
use crate::clock::Clock;
use crate::cursor::Cursor;
use crate::entropy::Entropy;
use crate::id::{CredentialKey, EventId, PeerQueue};
use crate::secret::PropagationSecret;
use crate::state::{Committed, Key, StateStore, Transaction, Write};
use crate::transport::{Deliveries, PublishError, Transport};
use crate::wire::{AckEvent, Envelope, Message, interpret, is_ack};

pub(super) struct NodePeer {
    pub(super) own: PeerQueue,
    pub(super) secret: PropagationSecret,
    pub(super) sources: BTreeMap<PeerQueue, PropagationSecret>,
    pub(super) books: Books,
    pub(super) link: Arc<Link>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
}

/// To be requeued.
struct Failed;

impl NodePeer {
    pub(super) async fn run(self, mut deliveries: Deliveries) {
        while let Some(delivery) = deliveries.recv().await {
            while !delivery.is_dead() {
                if self.handle(&delivery.body).await.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if !delivery.is_dead() {
                delivery.ack().await;
            }
        }
    }

    async fn handle(&self, body: &[u8]) -> Result<(), Failed> {
        let Ok(envelope) = Envelope::decode(body, 1 << 20) else { return Ok(()) };
        if !self.secret.matches(&envelope.propagation_secret) || is_ack(&envelope) {
            return Ok(());
        }
        let record = record_of(body);
        let Ok(Message::Apply(event)) = interpret(envelope, true) else { return Ok(()) };
        let version = Cursor { source: None, ..event.version.clone() };
        if self.cursor(&event.key).await?.is_none_or(|held| version > held) {
            let to = record_key(&self.own, &event.key);
            self.write(Write { key: to, value: record, ttl: None }).await?;
            let cursor = serde_json::to_string(&version).map_err(|_| Failed)?;
            self.write(Write::set(cursor_key(&event.key), cursor)).await?;
        }
        self.answer(&event.source, &event.version.event_id).await
    }

    async fn cursor(&self, key: &CredentialKey) -> Result<Option<Cursor>, Failed> {
        let read = self.get(cursor_key(key)).await?;
        Ok(read.and_then(|text| serde_json::from_str(&text).ok()))
    }

    async fn get(&self, key: Key) -> Result<Option<String>, Failed> {
        let read = self.books.get(&[key]).await.map_err(|_| Failed)?;
        Ok(read.into_iter().next().flatten())
    }

    async fn write(&self, write: Write) -> Result<(), Failed> {
        let transaction = Transaction::default().write(write);
        match self.books.commit(&[transaction]).await.as_deref() {
            Ok([Committed::Done]) => Ok(()),
            _ => Err(Failed),
        }
    }

    async fn answer(&self, source: &PeerQueue, event_id: &EventId) -> Result<(), Failed> {
        #[allow(clippy::cast_precision_loss)]
        let ts = crate::cursor::Timestamp::new(self.clock.now_ms() as f64).map_err(|_| Failed)?;
        let ack = AckEvent {
            event_id: &EventId::random(&*self.entropy),
            ts,
            propagation_secret: self.sources.get(source).map_or("", PropagationSecret::expose),
            sender_amqp_queue: &self.own,
            op: AckEvent::OP,
            ack_event_id: event_id,
            ack_result: "applied",
            ack_reason: None,
            held: None,
            store: None,
        };
        match self.link.publish(source, ack.to_body()).await {
            Ok(()) => Ok(()),
            // It does not notice.
            Err(PublishError::Unroutable) => {
                self.books.fence.world.model().gave_up_on(&self.own, source);
                Ok(())
            }
            Err(_) => Err(Failed),
        }
    }
}

/// What it stores for an event; `None` for a removal.
fn record_of(body: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(body).ok()?;
    if event["op"] == "credential.delete" {
        return None;
    }
    let payload = &event["payload"];
    let rules = payload.get("allowedIps").cloned().unwrap_or_else(|| json!([]));
    let record = json!({
        "secretHash": payload["secretHash"],
        "createdAt": 0,
        "updatedAt": 0,
        "expiresAt": payload["expiresAt"],
        "allowedIps": rules,
    });
    Some(record.to_string())
}
