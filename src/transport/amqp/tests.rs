//! The adapter against real brokers.

mod consuming;
mod faults;
mod lifecycle;
mod publishing;
mod secrets;
mod stalls;
#[cfg(feature = "tls")]
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hmac_propagator_support::{Broker, Queues, Vhost};
use tokio::time::timeout;

use super::{AmqpTransport, queue_name};
use crate::broker::BrokerOptions;
use crate::entropy::{Entropy, OsEntropy};
use crate::id::PeerQueue;
use crate::secret::BrokerPassword;
use crate::transport::{Deliveries, Delivery, LinkHealth, LinkState, Transport};

/// Longer than anything takes on a busy machine.
const BOUND: Duration = Duration::from_secs(60);

/// The own queue of every transport here.
const OWN: &str = "hmac-own.queue";

fn peer(name: &str) -> PeerQueue {
    PeerQueue::new(name).unwrap()
}

fn options(broker: &Broker, vhost: &Vhost, address: SocketAddr) -> BrokerOptions {
    let url = url::Url::parse(&vhost.url()).unwrap();
    let password = BrokerPassword::new(broker.password());
    let mut options = BrokerOptions::new(url.username(), password)
        .address(address.ip().to_string(), address.port())
        .vhost(vhost.name());
    options.reconnect_most = Duration::from_millis(500);
    options
}

fn start(options: BrokerOptions) -> (Arc<AmqpTransport>, Deliveries) {
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    AmqpTransport::start(options, &peer("own"), &entropy)
}

/// A transport that is up, on a virtual host of its own.
struct Scene {
    broker: Broker,
    vhost: Vhost,
    queues: Queues,
    transport: Arc<AmqpTransport>,
    deliveries: Deliveries,
}

impl Scene {
    async fn new() -> Self {
        let broker = Broker::start().await.unwrap();
        let vhost = broker.vhost().await.unwrap();
        let queues = vhost.queues().await.unwrap();
        let (transport, deliveries) = start(options(&broker, &vhost, broker.address()));
        health(&transport, both_up).await;
        Self { broker, vhost, queues, transport, deliveries }
    }
}

async fn bounded<T>(work: impl Future<Output = T>) -> T {
    timeout(BOUND, work).await.expect("done within the bound")
}

/// Waits for a state of health.
async fn health(transport: &AmqpTransport, wanted: impl FnMut(&LinkHealth) -> bool) -> LinkHealth {
    let mut health = transport.health();
    let reached = timeout(BOUND, health.wait_for(wanted)).await;
    match reached {
        Ok(health) => health.unwrap().clone(),
        Err(_) => panic!("the health is still {transport:?}"),
    }
}

fn both_up(health: &LinkHealth) -> bool {
    health.publisher.is_up() && health.consumer.is_up()
}

/// Why a direction is down.
fn reason(state: &LinkState) -> Option<&str> {
    match state {
        LinkState::Down { reason } => reason.as_deref(),
        _ => None,
    }
}

async fn receive(deliveries: &mut Deliveries) -> Delivery {
    bounded(deliveries.recv()).await.expect("a delivery")
}

/// The threads of this process that belong to the AMQP library.
fn io_threads() -> usize {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with("lapin"))
        .count()
}
