//! One process's connection to the broker: the transport port, as the AMQP adapter behaves.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::broker::{Handing, Message, QueueTrouble, Seen, Wrap};
use super::disk::Disk;
use super::fence::Fence;
use super::settled;
use super::world::World;
use crate::id::PeerQueue;
use crate::transport::{
    DeclareError, Deliveries, Delivery, LinkHealth, LinkState, PublishError, QueueDepth, Settle,
    Transport,
};

const PUBLISH_DEADLINE: Duration = Duration::from_secs(10);
const DECLARE_DEADLINE: Duration = Duration::from_secs(5);

/// More than are ever handed out at once, those of ended connections included.
const ROOM: usize = 4096;

pub(super) struct Link {
    world: Arc<World>,
    fence: Arc<Fence>,
    own: PeerQueue,
    health: watch::Sender<LinkHealth>,
    /// Counts the publishing connections: a confirm of an ended one never comes.
    generation: AtomicU64,
    publisher_down_until: Mutex<Instant>,
    consumer_down_until: Mutex<Instant>,
    consuming: Mutex<Consuming>,
}

#[derive(Debug)]
struct Consuming {
    connection: Option<u64>,
    deliveries: Option<mpsc::Sender<Delivery>>,
    /// For good.
    stopped: bool,
}

impl Link {
    /// Connects and consumes. `settling`: what settled deliveries are checked against.
    pub(super) fn start(
        fence: Arc<Fence>,
        own: PeerQueue,
        prefetch: u16,
        settling: Settling,
    ) -> (Arc<Self>, Deliveries) {
        let (sender, deliveries) = mpsc::channel(ROOM);
        let up = LinkHealth { publisher: LinkState::Up, consumer: LinkState::Up };
        let now = Instant::now();
        let link = Arc::new(Self {
            world: fence.world.clone(),
            fence,
            own,
            health: watch::Sender::new(up),
            generation: AtomicU64::new(0),
            publisher_down_until: Mutex::new(now),
            consumer_down_until: Mutex::new(now),
            consuming: Mutex::new(Consuming {
                connection: None,
                deliveries: Some(sender),
                stopped: false,
            }),
        });
        tokio::spawn(link.clone().keep_consuming(usize::from(prefetch), settling));
        (link, deliveries)
    }

    /// Consumes, and consumes again whenever that has ended.
    async fn keep_consuming(self: Arc<Self>, prefetch: usize, settling: Settling) {
        loop {
            let until = *locked(&self.consumer_down_until);
            sleep_until(until).await;
            let ended = Arc::new(Notify::new());
            {
                let mut consuming = locked(&self.consuming);
                let deliveries = consuming.deliveries.clone();
                if deliveries.is_none() || consuming.stopped || self.fence.is_dead() {
                    return;
                }
                let wrap = self.wrap(settling.clone());
                let to = Handing { deliveries, ended: ended.clone(), wrap };
                let broker = &self.world.broker;
                consuming.connection = Some(broker.consume(&self.world, &self.own, prefetch, to));
            }
            self.consumer_is(LinkState::Up);
            ended.notified().await;
            self.consumer_is(LinkState::Down { reason: None });
            let ms = self.world.random().between(1, 400);
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }

    fn wrap(&self, settling: Settling) -> Wrap {
        let (fence, world) = (self.fence.clone(), self.world.clone());
        Wrap(Arc::new(move |connection, message| {
            let body = message.body.to_vec();
            let tag = Tag {
                world: world.clone(),
                fence: fence.clone(),
                settling: settling.clone(),
                connection,
                message,
            };
            Delivery::new(body, Box::new(tag))
        }))
    }

    /// The publishing side is away for a while; what was not confirmed never will be.
    pub(super) fn drop_publisher(self: &Arc<Self>, time: Duration) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.block_publisher(time);
    }

    /// The broker takes nothing for a while, as under an alarm.
    pub(super) fn block_publisher(self: &Arc<Self>, time: Duration) {
        let until = Instant::now() + time;
        {
            let mut down_until = locked(&self.publisher_down_until);
            *down_until = until.max(*down_until);
        }
        self.health.send_modify(|health| health.publisher = LinkState::Down { reason: None });
        let link = self.clone();
        tokio::spawn(async move {
            sleep_until(until).await;
            if !link.publisher_is_down() {
                link.health.send_modify(|health| health.publisher = LinkState::Up);
            }
        });
    }

    /// The consuming side is away for a while.
    pub(super) fn drop_consumer(&self, time: Duration) {
        *locked(&self.consumer_down_until) = Instant::now() + time;
        self.disconnect();
    }

    /// Ends the consuming connection.
    pub(super) fn disconnect(&self) {
        let connection = locked(&self.consuming).connection.take();
        if let Some(connection) = connection {
            self.world.broker.disconnect(&self.world, connection);
        }
    }

    /// The process is gone, and all its connections with it.
    pub(super) fn end(&self) {
        {
            let mut consuming = locked(&self.consuming);
            consuming.stopped = true;
            consuming.deliveries = None;
        }
        self.disconnect();
    }

    fn consumer_is(&self, state: LinkState) {
        if !self.fence.is_dead() {
            self.health.send_modify(|health| health.consumer = state);
        }
    }

    fn publisher_is_down(&self) -> bool {
        Instant::now() < *locked(&self.publisher_down_until)
    }

    async fn publisher_up(&self) {
        while self.publisher_is_down() {
            let until = *locked(&self.publisher_down_until);
            sleep_until(until).await;
        }
    }

    /// Until the broker has confirmed. A connection that ends before that leaves open whether it
    /// has the message: it is published once more, or given up.
    async fn confirmed(
        &self,
        to: &PeerQueue,
        body: Arc<[u8]>,
        seen: Arc<Seen>,
    ) -> Result<(), PublishError> {
        let world = &self.world;
        loop {
            self.publisher_up().await;
            let generation = self.generation.load(Ordering::Relaxed);
            let fails = world.rates().publish_fails;
            world.published.fetch_add(1, Ordering::Relaxed);
            let routed = self.fence.call(fails, || {
                if world.broker.has_trouble(to) == Some(QueueTrouble::Stalls) {
                    return None;
                }
                Some(self.route(to, body.clone(), seen.clone()))
            });
            match routed.await {
                Some(None) => {
                    // Held without a confirm; perhaps it arrives all the same.
                    if world.chance(300) {
                        let _ = self.route(to, body.clone(), seen.clone());
                    }
                    std::future::pending::<()>().await;
                }
                Some(Some(routed)) if generation == self.generation.load(Ordering::Relaxed) => {
                    return routed;
                }
                _ if world.chance(500) => {}
                _ => return Err(PublishError::Unavailable),
            }
        }
    }

    fn route(&self, to: &PeerQueue, body: Arc<[u8]>, seen: Arc<Seen>) -> Result<(), PublishError> {
        settled::published(&self.world, &self.fence.name, to, &seen);
        let routed = self.world.broker.route(&self.world, to, body, seen.clone());
        self.world.note(format_args!(
            "{} publishes {} to {to}: {routed:?}",
            self.fence.name, seen.event_id
        ));
        if routed.is_ok() {
            settled::routed(&self.world, &seen);
        }
        routed
    }
}

#[async_trait]
impl Transport for Link {
    async fn publish(&self, to: &PeerQueue, body: Vec<u8>) -> Result<(), PublishError> {
        let Ok(seen) = serde_json::from_slice::<Seen>(&body) else {
            self.world.violate(format_args!("{} publishes what nobody reads", self.fence.name));
            return Err(PublishError::Refused);
        };
        let confirmed = self.confirmed(to, body.into(), Arc::new(seen));
        let published = timeout(PUBLISH_DEADLINE, confirmed).await;
        if self.fence.is_dead() {
            // Who is dead learns nothing any more, and does not try again.
            std::future::pending::<()>().await;
        }
        published.unwrap_or(Err(PublishError::Unavailable))
    }

    async fn declare(&self, queue: &PeerQueue) -> Result<QueueDepth, DeclareError> {
        let declared = async {
            self.publisher_up().await;
            let fails = self.world.rates().publish_fails;
            let declared = self.fence.call(fails, || {
                let broker = &self.world.broker;
                match broker.has_trouble(queue) {
                    Some(QueueTrouble::Foreign) => {
                        Some(Err(DeclareError::ForeignArguments("simulated".into())))
                    }
                    Some(QueueTrouble::Stalls) => None,
                    _ => Some(Ok(broker.declare(queue))),
                }
            });
            match declared.await {
                Some(Some(declared)) => declared,
                Some(None) => std::future::pending().await,
                None => Err(DeclareError::Unavailable),
            }
        };
        timeout(DECLARE_DEADLINE, declared).await.unwrap_or(Err(DeclareError::Unavailable))
    }

    async fn answers(&self, _heard_within: Duration) -> bool {
        self.fence.pass().await;
        !self.publisher_is_down()
    }

    fn health(&self) -> watch::Receiver<LinkHealth> {
        self.health.subscribe()
    }

    async fn stop_consuming(&self) {
        // Nothing new comes; what was handed out can still be settled, so the connection stays.
        locked(&self.consuming).deliveries = None;
        let connection = locked(&self.consuming).connection;
        if let Some(connection) = connection {
            self.world.broker.stop(connection);
        }
    }

    async fn close(&self, _deadline: Duration) {
        self.end();
        let closed = LinkHealth { publisher: LinkState::Closed, consumer: LinkState::Closed };
        self.health.send_replace(closed);
    }
}

/// What a settled delivery is checked against.
#[derive(Clone)]
pub(super) struct Settling {
    pub(super) disk: Arc<Disk>,
    pub(super) tables: Option<Arc<super::database::Tables>>,
}

/// The right to settle one delivery.
struct Tag {
    world: Arc<World>,
    fence: Arc<Fence>,
    settling: Settling,
    connection: u64,
    message: Message,
}

impl Tag {
    async fn settle(&self, how: &str) {
        let Self { world, fence, settling, .. } = self;
        let settle = || {
            let settled = world.broker.settle(world, self.connection, self.message.id());
            if let Some(message) = settled {
                world.note(format_args!("{} {how} {}", fence.name, message.seen.event_id));
                settled::check(world, settling, &message.seen);
            }
        };
        let _ = fence.call(0, settle).await;
    }
}

#[async_trait]
impl Settle for Tag {
    async fn ack(self: Box<Self>) {
        self.settle("settles").await;
    }

    /// No policy says where to: the message is gone, and what must be true then is the same.
    async fn reject(self: Box<Self>) {
        self.settle("rejects").await;
    }

    fn is_dead(&self) -> bool {
        !self.world.broker.is_connected(self.connection)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("own", &self.own).finish_non_exhaustive()
    }
}
