//! A peer after the wire contract, version 1, and the Redis layout of the deployed peers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use hmac_propagator_support::lapin::message::Delivery;
use hmac_propagator_support::lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use hmac_propagator_support::lapin::types::FieldTable;
use hmac_propagator_support::lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use hmac_propagator_support::{Redis, eventually};
use poc::mesh::{Mesh, SOON, queue};
use poc::store::NAMESPACE;
use serde_json::{Value, json};
use tokio::task::AbortHandle;

/// Ends with the value.
pub(crate) struct NodePeer {
    inner: Arc<Inner>,
    task: AbortHandle,
    _connection: Connection,
}

struct Inner {
    name: String,
    secret: String,
    /// The propagation secrets of other peers: its directory.
    known: Mutex<BTreeMap<String, String>>,
    /// Every message that was meant for it, in the order of arrival.
    seen: Mutex<Vec<Value>>,
    redis: Redis,
    channel: Channel,
}

impl NodePeer {
    /// Takes a seat: declares its queue and consumes it, one message at a time.
    pub(crate) async fn start(mesh: &Mesh, name: &str, secret: &str) -> Self {
        mesh.queues().declare(&queue(name)).await.unwrap();
        let options = ConnectionProperties::default();
        let connection = Connection::connect(&mesh.broker_url(), options).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
        let (own, tag) = (queue(name).as_str().into(), "".into());
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consuming = channel.basic_consume(own, tag, options, arguments);
        let mut consumer = consuming.await.unwrap();
        let inner = Arc::new(Inner {
            name: name.to_owned(),
            secret: secret.to_owned(),
            known: Mutex::default(),
            seen: Mutex::default(),
            redis: Redis::start().await.unwrap(),
            channel,
        });
        let receiving = inner.clone();
        let task = tokio::spawn(async move {
            while let Some(Ok(delivery)) = consumer.next().await {
                receiving.receive(delivery).await;
            }
        });
        Self { inner, task: task.abort_handle(), _connection: connection }
    }

    /// Puts a peer into its directory.
    pub(crate) fn knows(&self, peer: &str, secret: &str) {
        self.inner.known.lock().unwrap().insert(peer.to_owned(), secret.to_owned());
    }

    /// The hash that its Redis holds.
    pub(crate) async fn holds(&self, client: &str) -> Option<String> {
        let stored = self.inner.stored(client).await?;
        Some(stored["secretHash"].as_str().unwrap().to_owned())
    }

    /// What the events said that it applied.
    pub(crate) fn operations(&self) -> Vec<String> {
        let seen = self.inner.seen.lock().unwrap();
        seen.iter().map(|message| message["op"].as_str().unwrap().to_owned()).collect()
    }

    /// Sends a decision of its own and returns the event's id.
    pub(crate) async fn decide(
        &self,
        target: &str,
        secret: &str,
        op: &str,
        client: &str,
        payload: Value,
    ) -> String {
        let mut event = self.inner.message(secret, op);
        event["track"] = "http".into();
        event["clientId"] = client.into();
        event["payload"] = payload;
        self.inner.publish(target, &event).await;
        event["eventId"].as_str().unwrap().to_owned()
    }

    /// Waits for the answer to an event.
    pub(crate) async fn answer_to(&self, event: &str) -> Value {
        eventually(SOON, || async {
            let seen = self.inner.seen.lock().unwrap();
            seen.iter().find(|message| message["ackEventId"] == event).cloned()
        })
        .await
    }
}

impl Drop for NodePeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inner {
    async fn receive(&self, delivery: Delivery) {
        let message: Value = serde_json::from_slice(&delivery.data).unwrap();
        let op = message["op"].as_str().unwrap();
        // A receive-only peer cannot know the secret of a source: its answers carry an empty one.
        let unsigned = op == "credential.ack" && message["propagationSecret"] == "";
        if message["propagationSecret"] == self.secret.as_str() || unsigned {
            if op != "credential.ack" {
                self.apply(&message).await;
                self.acknowledge(&message).await;
            }
            self.seen.lock().unwrap().push(message);
        }
        delivery.ack(BasicAckOptions::default()).await.unwrap();
    }

    /// Strictly by the order of `(ts, eventId)`.
    async fn apply(&self, event: &Value) {
        let (track, client) =
            (event["track"].as_str().unwrap(), event["clientId"].as_str().unwrap());
        let key = format!("propagation:last-seen:{track}:{client}");
        let cursor: Option<String> = self.redis.command(&["GET", &key]).await.unwrap();
        let cursor: Option<Value> = cursor.map(|text| serde_json::from_str(&text).unwrap());
        let order = |of: &Value| (of["ts"].as_u64().unwrap(), of["eventId"].to_string());
        if cursor.is_some_and(|cursor| order(event) <= order(&cursor)) {
            return;
        }
        let credentials = format!("{NAMESPACE}:clients");
        let (): () = if event["op"] == "credential.delete" {
            self.redis.command(&["HDEL", &credentials, client]).await.unwrap()
        } else {
            let stored = json!({
                "secretHash": event["payload"]["secretHash"], "createdAt": event["ts"],
                "updatedAt": event["ts"], "expiresAt": event["payload"]["expiresAt"],
                "allowedIps": [],
            });
            self.redis.command(&["HSET", &credentials, client, &stored.to_string()]).await.unwrap()
        };
        let cursor = json!({ "ts": event["ts"], "eventId": event["eventId"] }).to_string();
        let (): () = self.redis.command(&["SET", &key, &cursor]).await.unwrap();
    }

    async fn acknowledge(&self, event: &Value) {
        let source = event["senderAmqpQueue"].as_str().unwrap();
        let secret = self.known.lock().unwrap().get(source).cloned().unwrap_or_default();
        let mut answer = self.message(&secret, "credential.ack");
        answer["ackEventId"] = event["eventId"].clone();
        answer["ackResult"] = "applied".into();
        answer["ackReason"] = Value::Null;
        self.publish(source, &answer).await;
    }

    async fn stored(&self, client: &str) -> Option<Value> {
        let credentials = format!("{NAMESPACE}:clients");
        let command = ["HGET", &credentials, client];
        let text: Option<String> = self.redis.command(&command).await.unwrap();
        text.map(|text| serde_json::from_str(&text).unwrap())
    }

    fn message(&self, secret: &str, op: &str) -> Value {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let next = NEXT.fetch_add(1, Ordering::SeqCst);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        json!({
            "eventId": format!("00000000-0000-4000-8000-{next:012x}"),
            // Two decisions within one millisecond would have no order.
            "ts": u64::try_from(now.as_millis()).unwrap() + next,
            "propagationSecret": secret,
            "senderAmqpQueue": self.name,
            "op": op,
        })
    }

    async fn publish(&self, peer: &str, message: &Value) {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into());
        let (options, queue) = (BasicPublishOptions::default(), queue(peer));
        let body = message.to_string();
        let publishing = self.channel.basic_publish(
            "".into(),
            queue.as_str().into(),
            options,
            body.as_bytes(),
            properties,
        );
        publishing.await.unwrap().await.unwrap();
    }
}
