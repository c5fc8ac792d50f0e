//! The broker over AMQP 0-9-1.
//!
//! Two connections, one to publish and one to consume: a broker that is short of memory stops
//! reading from those who publish, and acks must not wait behind that. Each is owned by a
//! supervisor; a lost one is replaced by a new one with new channels, never revived.

mod batch;
mod consumer;
mod describe;
mod health;
mod inspect;
mod lane;
mod link;
mod publisher;
mod quiet;
mod slow;
mod straggler;
mod stream;
mod supervisor;
mod tls;
mod topology;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lapin::types::ShortString;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::inspect::inspect;

use self::consumer::{ConsumeDuty, Stop};
use self::health::{Direction, Report, not_connected};
use self::publisher::{CurrentLink, PublishDuty, Publisher};
use self::supervisor::Supervisor;
use self::topology::Topology;
use super::{DeclareError, Deliveries, LinkHealth, PublishError, QueueDepth, Transport};
use crate::broker::BrokerOptions;
use crate::entropy::Entropy;
use crate::id::PeerQueue;

/// The name of a peer's queue on the broker (wire contract, "Transport").
fn queue_name(peer: &PeerQueue) -> ShortString {
    // A peer's name has at most 200 bytes: far from the 255 above which this conversion panics.
    format!("hmac-{peer}.queue").into()
}

/// The transport over RabbitMQ.
pub(crate) struct AmqpTransport {
    publisher: Publisher,
    topology: Topology,
    link: CurrentLink,
    asking: tokio::sync::Mutex<()>,
    consuming: Stop,
    health: Arc<watch::Sender<LinkHealth>>,
    lifecycle: Lifecycle,
}

impl AmqpTransport {
    /// Starts and returns at once; the connections are made in the background, now or whenever the
    /// broker can be reached. Must be called inside a tokio runtime.
    pub(crate) fn start(
        options: BrokerOptions,
        own: &PeerQueue,
        entropy: &Arc<dyn Entropy>,
    ) -> (Arc<Self>, Deliveries) {
        let options = Arc::new(options);
        let health = Arc::new(not_connected());
        let lifecycle = Lifecycle::default();
        let (sender, link) = watch::channel(None);
        let (tasks, shutdown) = (&lifecycle.lanes, &lifecycle.shutdown);
        let (publisher, lanes) = Publisher::new(options.publish_deadline, &link, tasks, shutdown);
        for lane in lanes {
            let shutdown = lifecycle.shutdown.clone();
            lifecycle.lanes.spawn(shutdown.run_until_cancelled_owned(lane.run()));
        }
        lifecycle.lanes.close();

        let (consume, consuming, deliveries) =
            ConsumeDuty::new(queue_name(own), options.prefetch, options.connect_deadline);
        let supervisor = |direction: Direction, last_link: &CancellationToken| Supervisor {
            options: options.clone(),
            connection_name: format!("hmac-propagator {own} {}", direction.name()),
            entropy: entropy.clone(),
            report: Report::new(health.clone(), direction),
            last_link: last_link.clone(),
            shutdown: lifecycle.shutdown.clone(),
        };
        let publish = PublishDuty { current: sender };
        let supervise_publish = supervisor(Direction::Publish, &lifecycle.shutdown).run(publish);
        let supervise_consume = supervisor(Direction::Consume, &consuming.stop).run(consume);
        lifecycle.supervisors.spawn(supervise_publish);
        lifecycle.supervisors.spawn(supervise_consume);
        lifecycle.supervisors.close();

        let closing = lifecycle.closing.clone();
        let transport = Self {
            publisher,
            link: link.clone(),
            asking: tokio::sync::Mutex::default(),
            topology: Topology::new(link, options.declare_deadline, closing),
            consuming,
            health,
            lifecycle,
        };
        (Arc::new(transport), deliveries)
    }
}

#[async_trait]
impl Transport for AmqpTransport {
    async fn publish(&self, to: &PeerQueue, body: Vec<u8>) -> Result<(), PublishError> {
        self.publisher.publish(queue_name(to), body).await
    }

    async fn declare(&self, queue: &PeerQueue) -> Result<QueueDepth, DeclareError> {
        self.topology.declare(queue_name(queue)).await
    }

    async fn answers(&self, heard_within: Duration) -> bool {
        // One asks for all: its answer is heard by those who wait here.
        let _one = self.asking.lock().await;
        let Some(link) = self.link.borrow().clone() else { return false };
        !link.ended().is_cancelled() && (link.silence() < heard_within || link.answers().await)
    }

    fn health(&self) -> watch::Receiver<LinkHealth> {
        self.health.subscribe()
    }

    async fn stop_consuming(&self) {
        self.consuming.stop.cancel();
        self.consuming.stopped.cancelled().await;
    }

    async fn close(&self, deadline: Duration) {
        self.publisher.close();
        self.lifecycle.close(&self.consuming, deadline).await;
    }
}

/// Without `close`: everything ends at once, unflushed.
impl Drop for AmqpTransport {
    fn drop(&mut self) {
        self.publisher.close();
        self.consuming.stop.cancel();
        self.lifecycle.shutdown.cancel();
    }
}

impl fmt::Debug for AmqpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpTransport")
            .field("health", &*self.health.borrow())
            .finish_non_exhaustive()
    }
}

/// The tasks and how they end.
#[derive(Clone, Debug, Default)]
struct Lifecycle {
    /// Set by the first call of `close`.
    begun: Arc<AtomicBool>,
    /// Cancelled by it.
    closing: CancellationToken,
    /// Ends lanes and supervisors.
    shutdown: CancellationToken,
    /// Cancelled when `close` is done.
    closed: CancellationToken,
    /// The lanes and the stragglers that they leave behind.
    lanes: TaskTracker,
    supervisors: TaskTracker,
}

impl Lifecycle {
    /// The first call closes, in a task of its own so that it goes on when its caller gives up.
    /// Every call waits for the end.
    async fn close(&self, consuming: &Stop, deadline: Duration) {
        self.closing.cancel();
        if !self.begun.swap(true, Ordering::AcqRel) {
            tokio::spawn(self.clone().finish(consuming.clone(), deadline));
        }
        self.closed.cancelled().await;
    }

    async fn finish(self, consuming: Stop, deadline: Duration) {
        consuming.stop.cancel();
        // The lanes end by themselves once what was accepted is settled. Until then the consuming
        // link stays, for the acks of those who settle meanwhile.
        let flushed = timeout(deadline, async {
            self.lanes.wait().await;
            consuming.stopped.cancelled().await;
        });
        if flushed.await.is_err() {
            tracing::warn!(?deadline, "closed with messages that were not confirmed");
        }
        self.shutdown.cancel();
        self.lanes.wait().await;
        self.supervisors.wait().await;
        self.closed.cancel();
    }
}
