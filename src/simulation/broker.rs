//! The broker: queues, consumers, and what it does to messages.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::world::World;
use crate::cursor::Timestamp;
use crate::id::{ClientId, EventId, PeerQueue, Track};
use crate::transport::{Delivery, PublishError, QueueDepth};

/// What can be wrong with one queue for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueTrouble {
    /// Publishes are refused, as at a length limit.
    Refuses,
    /// Nothing is confirmed.
    Stalls,
    /// Declarations fail: it exists with other arguments.
    Foreign,
}

/// A message, with what an observer can read in it.
#[derive(Clone, Debug)]
pub(super) struct Message {
    id: u64,
    pub(super) body: Arc<[u8]>,
    pub(super) seen: Arc<Seen>,
}

/// The fields of a message that checks look at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seen {
    pub(super) event_id: EventId,
    pub(super) ts: Timestamp,
    pub(super) sender_amqp_queue: PeerQueue,
    pub(super) track: Option<Track>,
    pub(super) client_id: Option<ClientId>,
    pub(super) ack_event_id: Option<EventId>,
    pub(super) ack_result: Option<String>,
    #[serde(rename = "propagationSecret", deserialize_with = "is_given")]
    pub(super) signed: bool,
}

fn is_given<'de, D: serde::Deserializer<'de>>(secret: D) -> Result<bool, D::Error> {
    String::deserialize(secret).map(|secret| !secret.is_empty())
}

#[derive(Debug, Default)]
struct Queue {
    ready: VecDeque<Message>,
    consumers: Vec<Consumer>,
    turn: usize,
    trouble: Option<(QueueTrouble, Instant)>,
}

#[derive(Debug)]
struct Consumer {
    connection: u64,
    prefetch: usize,
    handed_out: BTreeMap<u64, Message>,
    to: Handing,
}

/// How a consumer gets its messages and hears that it has ended.
#[derive(Clone, Debug)]
pub(super) struct Handing {
    pub(super) deliveries: Option<mpsc::Sender<Delivery>>,
    pub(super) ended: Arc<Notify>,
    pub(super) wrap: Wrap,
}

/// Makes a delivery of a message: who settles it is the link's to know.
#[derive(Clone)]
pub(super) struct Wrap(pub(super) Arc<dyn Fn(u64, Message) -> Delivery + Send + Sync>);

impl std::fmt::Debug for Wrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wrap")
    }
}

#[derive(Debug, Default)]
pub(super) struct Broker {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queues: BTreeMap<PeerQueue, Queue>,
    numbered: u64,
}

impl Inner {
    fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    fn consumer(&mut self, connection: u64) -> Option<(&mut Queue, usize)> {
        self.queues.values_mut().find_map(|queue| {
            let at = queue.consumers.iter().position(|c| c.connection == connection)?;
            Some((queue, at))
        })
    }
}

impl Broker {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Declares a queue and consumes from it. Returns the connection's number.
    pub(super) fn consume(
        &self,
        world: &Arc<World>,
        name: &PeerQueue,
        prefetch: usize,
        to: Handing,
    ) -> u64 {
        let mut inner = self.inner();
        let connection = inner.number();
        let queue = inner.queues.entry(name.clone()).or_default();
        let consumer = Consumer { connection, prefetch, handed_out: BTreeMap::new(), to };
        queue.consumers.push(consumer);
        world.note(format_args!("{name} is consumed by {connection}"));
        pump(world, queue);
        connection
    }

    /// Ends a connection: what it did not settle is there again.
    pub(super) fn disconnect(&self, world: &Arc<World>, connection: u64) {
        let mut inner = self.inner();
        let Some((queue, at)) = inner.consumer(connection) else { return };
        let consumer = queue.consumers.remove(at);
        world.note(format_args!("{connection} ends with {}", consumer.handed_out.len()));
        for message in consumer.handed_out.into_values().rev() {
            queue.ready.push_front(message);
        }
        consumer.to.ended.notify_one();
        pump(world, queue);
    }

    /// Hands nothing more to a consumer; it can still settle what it has.
    pub(super) fn stop(&self, connection: u64) {
        if let Some((queue, at)) = self.inner().consumer(connection) {
            queue.consumers[at].prefetch = 0;
            queue.consumers[at].to.deliveries = None;
        }
    }

    pub(super) fn is_connected(&self, connection: u64) -> bool {
        self.inner().consumer(connection).is_some()
    }

    /// Settles a message. `None`: the broker knows of no such delivery any more.
    pub(super) fn settle(
        &self,
        world: &Arc<World>,
        connection: u64,
        message: u64,
    ) -> Option<Message> {
        let mut inner = self.inner();
        let (queue, at) = inner.consumer(connection)?;
        let settled = queue.consumers[at].handed_out.remove(&message);
        pump(world, queue);
        settled
    }

    /// Takes a message into a queue, perhaps twice.
    pub(super) fn route(
        &self,
        world: &Arc<World>,
        to: &PeerQueue,
        body: Arc<[u8]>,
        seen: Arc<Seen>,
    ) -> Result<(), PublishError> {
        let mut inner = self.inner();
        if self.trouble_of(&inner, to) == Some(QueueTrouble::Refuses) {
            return Err(PublishError::Refused);
        }
        let copies = if world.chance(world.rates().duplicates) { 2 } else { 1 };
        for _ in 0..copies {
            let id = inner.number();
            let queue = inner.queues.get_mut(to).ok_or(PublishError::Unroutable)?;
            queue.ready.push_back(Message { id, body: body.clone(), seen: seen.clone() });
            pump(world, queue);
        }
        Ok(())
    }

    pub(super) fn declare(&self, name: &PeerQueue) -> QueueDepth {
        let mut inner = self.inner();
        let queue = inner.queues.entry(name.clone()).or_default();
        QueueDepth {
            ready: u32::try_from(queue.ready.len()).unwrap_or(u32::MAX),
            consumers: u32::try_from(queue.consumers.len()).unwrap_or(u32::MAX),
        }
    }

    /// Deletes a queue with all that is in it.
    pub(super) fn delete(&self, name: &PeerQueue) {
        let Some(queue) = self.inner().queues.remove(name) else { return };
        for consumer in queue.consumers {
            consumer.to.ended.notify_one();
        }
    }

    pub(super) fn trouble(&self, name: &PeerQueue, trouble: QueueTrouble, until: Instant) {
        let mut inner = self.inner();
        inner.queues.entry(name.clone()).or_default().trouble = Some((trouble, until));
    }

    /// What is wrong with a queue now.
    pub(super) fn has_trouble(&self, name: &PeerQueue) -> Option<QueueTrouble> {
        self.trouble_of(&self.inner(), name)
    }

    fn trouble_of(&self, inner: &Inner, name: &PeerQueue) -> Option<QueueTrouble> {
        let (trouble, until) = inner.queues.get(name)?.trouble?;
        (Instant::now() < until).then_some(trouble)
    }

    /// Messages that are not settled, in queues and in hands.
    pub(super) fn unsettled(&self) -> Vec<(PeerQueue, usize)> {
        let inner = self.inner();
        let counted = inner.queues.iter().map(|(name, queue)| {
            let handed_out: usize = queue.consumers.iter().map(|c| c.handed_out.len()).sum();
            (name.clone(), queue.ready.len() + handed_out)
        });
        counted.filter(|(_, count)| *count > 0).collect()
    }
}

/// Hands out what consumers have room for.
fn pump(world: &Arc<World>, queue: &mut Queue) {
    while !queue.ready.is_empty() && !queue.consumers.is_empty() {
        let count = queue.consumers.len();
        let free = (0..count)
            .map(|step| (queue.turn + step) % count)
            .find(|&at| queue.consumers[at].handed_out.len() < queue.consumers[at].prefetch);
        let Some(at) = free else { return };
        queue.turn = at + 1;
        let mut next = 0;
        if world.chance(world.rates().reorders) {
            let bound = queue.ready.len().min(4) as u64;
            next = usize::try_from(world.random().below(bound)).unwrap_or(0);
        }
        let Some(message) = queue.ready.remove(next) else { return };
        let consumer = &mut queue.consumers[at];
        consumer.handed_out.insert(message.id, message.clone());
        hand_out(world, consumer, message);
    }
}

fn hand_out(world: &Arc<World>, consumer: &Consumer, message: Message) {
    let (connection, wrap) = (consumer.connection, consumer.to.wrap.clone());
    let Some(deliveries) = consumer.to.deliveries.clone() else { return };
    let lag = if world.chance(500) { world.random().between(1, 5) } else { 0 };
    let deliver = move || {
        let delivery = (wrap.0)(connection, message);
        // No room, or nobody there any more: it stays handed out until the connection ends.
        let _ = deliveries.try_send(delivery);
    };
    if lag == 0 {
        return deliver();
    }
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(lag)).await;
        deliver();
    });
}

impl Message {
    pub(super) fn id(&self) -> u64 {
        self.id
    }
}
