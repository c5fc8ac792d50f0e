//! Peers that speak the wire by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac_propagator::clock::{Clock, SystemClock};
use hmac_propagator_support::lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions,
};
use hmac_propagator_support::lapin::types::FieldTable;
use hmac_propagator_support::lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::mesh::{Mesh, SOON, propagation_secret_text, queue_name};

/// A UUID v4 that no other call gives.
pub fn fresh_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let next = NEXT.fetch_add(1, Ordering::SeqCst);
    format!("{:08x}-0000-4000-8000-{next:012x}", next.wrapping_mul(0x9e37_79b9) as u32)
}

pub fn now_ms() -> u64 {
    SystemClock.now_ms()
}

/// A well-formed hash that a number stands for.
pub fn hash_of(number: u64) -> String {
    format!("{number:064x}")
}

/// A valid apply event on track `http`.
pub fn apply(from: &str, to: &str, client: &str, ts: impl Into<Value>, hash: &str) -> Value {
    json!({
        "eventId": fresh_id(),
        "ts": ts.into(),
        "propagationSecret": propagation_secret_text(to),
        "senderAmqpQueue": from,
        "op": "credential.update",
        "track": "http",
        "clientId": client,
        "payload": {"secretHash": hash, "expiresAt": null},
    })
}

/// The signed answer `applied` of a target to an event.
pub fn ack(event: &Value, from: &str) -> Value {
    let source = event["senderAmqpQueue"].as_str().unwrap();
    json!({
        "eventId": fresh_id(),
        "ts": now_ms(),
        "propagationSecret": propagation_secret_text(source),
        "senderAmqpQueue": from,
        "op": "credential.ack",
        "ackEventId": event["eventId"],
        "ackResult": "applied",
        "ackReason": null,
    })
}

/// The signed answer `error`.
pub fn refusal(event: &Value, from: &str, reason: &str) -> Value {
    let mut answer = ack(event, from);
    answer["ackResult"] = "error".into();
    answer["ackReason"] = reason.into();
    answer
}

/// A target that is nothing but its queue and a rule for answers.
pub struct RawTarget {
    seen: Arc<watch::Sender<Vec<Value>>>,
    task: AbortHandle,
    _connection: Connection,
}

impl RawTarget {
    /// Declares the target's queue, consumes it, and sends what `answer` makes of each message to
    /// the queue of the message's sender.
    pub async fn start(
        mesh: &Mesh,
        name: &str,
        answer: impl Fn(&Value) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        mesh.queues.declare(&queue_name(name)).await.unwrap();
        let (connection, channel) = connect(mesh).await;
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let queue = queue_name(name).as_str().into();
        let consuming = channel.basic_consume(queue, "".into(), options, FieldTable::default());
        let mut consumer = consuming.await.unwrap();
        let seen = Arc::new(watch::Sender::new(Vec::new()));
        let noted = seen.clone();
        let task = tokio::spawn(async move {
            while let Some(Ok(delivery)) = futures_util::StreamExt::next(&mut consumer).await {
                let message: Value = serde_json::from_slice(&delivery.data).unwrap();
                // What peers tell of their stores is no event.
                if crate::mesh::is_announcement(&message) {
                    continue;
                }
                if let Some(answer) = answer(&message) {
                    let to = queue_name(message["senderAmqpQueue"].as_str().unwrap());
                    publish(&channel, &to, &answer).await;
                }
                noted.send_modify(|seen| seen.push(message));
            }
        });
        Self { seen, task: task.abort_handle(), _connection: connection }
    }

    /// A target that never answers.
    pub async fn silent(mesh: &Mesh, name: &str) -> Self {
        Self::start(mesh, name, |_| None).await
    }

    /// A target that answers `applied` the instant an event arrives.
    pub async fn instant(mesh: &Mesh, name: &str) -> Self {
        let own = name.to_owned();
        Self::start(mesh, name, move |event| Some(ack(event, &own))).await
    }

    /// All messages so far.
    pub fn seen(&self) -> Vec<Value> {
        self.seen.borrow().clone()
    }

    /// Waits for the message with this index.
    pub async fn nth(&self, index: usize) -> Value {
        let mut seen = self.seen.subscribe();
        let waiting = seen.wait_for(|seen| seen.len() > index);
        let seen = tokio::time::timeout(SOON, waiting).await.expect("a message in time");
        seen.unwrap()[index].clone()
    }
}

impl Drop for RawTarget {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Publishes many messages quickly.
pub struct RawPublisher {
    channel: Channel,
    _connection: Connection,
}

impl RawPublisher {
    pub async fn connect(mesh: &Mesh) -> Self {
        let (connection, channel) = connect(mesh).await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { channel, _connection: connection }
    }

    /// Sends to a peer's queue and waits until the broker has all of it.
    pub async fn send_all(&self, to: &str, messages: &[Value]) {
        let queue = queue_name(to);
        let mut confirms = Vec::new();
        for message in messages {
            confirms
                .push(publish_body(&self.channel, &queue, message.to_string().as_bytes()).await);
        }
        for confirm in confirms {
            confirm.await.unwrap();
        }
    }
}

async fn connect(mesh: &Mesh) -> (Connection, Channel) {
    let options = ConnectionProperties::default();
    let connection = Connection::connect(&mesh.vhost.url(), options).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn publish(channel: &Channel, queue: &str, message: &Value) {
    publish_body(channel, queue, message.to_string().as_bytes()).await;
}

async fn publish_body(
    channel: &Channel,
    queue: &str,
    body: &[u8],
) -> hmac_propagator_support::lapin::PublisherConfirm {
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default().with_delivery_mode(2);
    channel.basic_publish("".into(), queue.into(), options, body, properties).await.unwrap()
}
