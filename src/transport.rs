//! The port to the broker: publish and be sure, declare and learn the depth, receive and settle.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use crate::id::PeerQueue;

#[cfg(feature = "propagation")]
pub(crate) mod amqp;

/// One peer's connection to the mesh.
///
/// Implementations reconnect by themselves, redeclare the own queue and consume again; callers only
/// see errors, `LinkHealth` and redeliveries.
#[async_trait]
pub(crate) trait Transport: Send + Sync + fmt::Debug + 'static {
    /// Publishes one persistent message to a peer's queue and waits until the broker has confirmed
    /// that it holds it. The queue is not declared. Any number of calls may run side by side.
    ///
    /// # Cancellation
    /// Dropping the future gives up the answer; the message may still go out.
    async fn publish(&self, to: &PeerQueue, body: Vec<u8>) -> Result<(), PublishError>;

    /// Declares a peer's queue as the wire contract says and reports what stands in it.
    async fn declare(&self, queue: &PeerQueue) -> Result<QueueDepth, DeclareError>;

    /// Whether the broker is there: heard on the publishing side within this time, or answering
    /// now. Only then a publish or a declaration without an answer is the queue's fault.
    async fn answers(&self, heard_within: Duration) -> bool;

    /// The state of both directions, now and on every change.
    fn health(&self) -> watch::Receiver<LinkHealth>;

    /// Stops consuming. Deliveries that were handed out can still be settled.
    async fn stop_consuming(&self);

    /// Flushes what is in hand, at most for `deadline`, and disconnects. Idempotent.
    async fn close(&self, deadline: Duration);
}

/// What `Transport` implementations hand to the inbound loop. Bounded by the prefetch.
pub(crate) type Deliveries = mpsc::Receiver<Delivery>;

/// A message taken from the own queue. Dropped without `ack` or `reject`, it stays unsettled and the
/// broker delivers it again once the connection ends.
pub(crate) struct Delivery {
    pub(crate) body: Vec<u8>,
    settle: Box<dyn Settle>,
}

impl Delivery {
    pub(crate) fn new(body: Vec<u8>, settle: Box<dyn Settle>) -> Self {
        Self { body, settle }
    }

    /// Whether its connection has ended: it can no longer be settled, and the broker delivers the
    /// message again.
    pub(crate) fn is_dead(&self) -> bool {
        self.settle.is_dead()
    }

    /// Settles the delivery: the broker forgets it. On a connection that is gone this does nothing;
    /// the broker will deliver the message again.
    pub(crate) async fn ack(self) {
        self.settle.ack().await;
    }

    /// Settles the delivery as one that nothing will come of: the broker forgets it too, unless a
    /// policy on the queue tells it where such messages go. It never comes back to this queue.
    /// Otherwise as [`Delivery::ack`].
    pub(crate) async fn reject(self) {
        self.settle.reject().await;
    }
}

/// Bodies carry secrets: only their length is shown.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// Bound to the channel that the delivery came from, so that a tag of an old channel is never used
/// on a new one.
#[async_trait]
pub(crate) trait Settle: Send + Sync {
    async fn ack(self: Box<Self>);

    async fn reject(self: Box<Self>);

    /// Whether that channel has ended.
    fn is_dead(&self) -> bool;
}

/// What stands in a queue, as the broker answered the declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueDepth {
    /// Messages ready for delivery; those handed out and not yet settled do not count.
    pub(crate) ready: u32,
    /// Consumers on it.
    pub(crate) consumers: u32,
}

/// Why a publish did not end in a confirmed message.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// The broker returned the message: no such queue.
    #[error("the broker has no such queue")]
    Unroutable,
    /// The broker refused the message (nack), for example at a length limit.
    #[error("the broker refused the message")]
    Refused,
    /// No confirm within the deadline, or no connection: the message may or may not have arrived.
    #[error("the broker cannot be reached or does not confirm")]
    Unavailable,
    /// The transport was closed.
    #[error("closed")]
    Closed,
}

/// Why a queue could not be declared.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum DeclareError {
    /// The queue exists with arguments of its own (406 PRECONDITION_FAILED).
    #[error("the queue exists with other arguments: {0}")]
    ForeignArguments(String),
    /// The broker refuses (403 ACCESS_REFUSED, 405 RESOURCE_LOCKED and the like).
    #[error("the broker refuses the queue: {0}")]
    Refused(String),
    /// No answer within the deadline, or no connection.
    #[error("the broker cannot be reached or does not answer")]
    Unavailable,
    /// The transport was closed.
    #[error("closed")]
    Closed,
}

/// The state of one direction.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LinkState {
    /// Trying to connect, or connected to a broker that takes no messages at the moment; why, where
    /// there was a failure.
    Down {
        /// The reason, without any secret.
        reason: Option<String>,
    },
    /// Connected and working.
    Up,
    /// Closed for good.
    #[default]
    Closed,
}

impl LinkState {
    /// Whether it works.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up)
    }
}

/// The state of both directions.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct LinkHealth {
    pub(crate) publisher: LinkState,
    pub(crate) consumer: LinkState,
}
