//! Real peers: an authority with the in-memory management side and targets with signatures, each on
//! a Redis of its own.

use std::time::Instant;

use hmac_propagator::broker::BrokerOptions;
use hmac_propagator::event::{Event, EventStream};
use hmac_propagator::id::{ClientId, PeerQueue, Track};
use hmac_propagator::management::{Management, MemoryManagement, Outcome};
use hmac_propagator::propagator::{Builder, Ensure, Propagator, Rotate};
use hmac_propagator::secret::{BrokerPassword, ClientSecret, PropagationSecret};
use hmac_propagator::state::RedisState;
use hmac_propagator::store::RedisCredentialStore;
use hmac_propagator_support::{Broker, Redis, Vhost};

use crate::report::{Figures, ms};

const AUTHORITY: &str = "authority";

/// How many events of one sync are settled in a second, from the call to the last ack.
pub async fn events_per_second(broker: &Broker, credentials: usize, targets: usize) -> f64 {
    events_per_second_with(broker, credentials, targets, in_memory(targets)).await
}

pub fn in_memory(targets: usize) -> MemoryManagement {
    let management = MemoryManagement::new();
    for target in 0..targets {
        management.add_target(queue(&target_name(target)), secret(&target_name(target)));
    }
    management
}

/// The same over a management side that has the targets in its directory.
pub async fn events_per_second_with(
    broker: &Broker,
    credentials: usize,
    targets: usize,
    management: impl Management,
) -> f64 {
    let mesh = Mesh::start_with(broker, targets, management).await;
    for credential in 0..credentials {
        mesh.ensure(credential).await;
    }
    let started = Instant::now();
    mesh.sync(credentials).await;
    #[allow(clippy::cast_precision_loss)]
    let rate = (credentials * targets) as f64 / started.elapsed().as_secs_f64();
    mesh.close().await;
    rate
}

/// From the rotate call to the last of four acks, in milliseconds, one rotation after the other.
pub async fn rotation_latencies(broker: &Broker, rotations: usize) -> Figures {
    let mesh = Mesh::start(broker, 4).await;
    mesh.ensure(0).await;
    let mut events = mesh.authority.events();
    mesh.authority.sync().await.unwrap();
    complete(&mut events, 1).await;
    let mut latencies = Vec::new();
    for rotation in 0..rotations + 20 {
        let started = Instant::now();
        let secret = ClientSecret::new(format!("rotation {rotation}")).unwrap();
        mesh.authority.rotate(Rotate::new(client(0), secret)).await.unwrap();
        mesh.authority.sync().await.unwrap();
        complete(&mut events, 1).await;
        if rotation >= 20 {
            latencies.push(ms(started.elapsed()));
        }
    }
    mesh.close().await;
    Figures::of(latencies)
}

/// An authority and its targets.
pub struct Mesh {
    authority: Propagator,
    targets: Vec<(Propagator, Redis)>,
    redis: Redis,
    _vhost: Vhost,
}

impl Mesh {
    async fn start(broker: &Broker, targets: usize) -> Self {
        Self::start_with(broker, targets, in_memory(targets)).await
    }

    pub async fn start_with(broker: &Broker, targets: usize, management: impl Management) -> Self {
        let vhost = broker.vhost().await.unwrap();
        let mut peers = Vec::new();
        for target in 0..targets {
            let redis = Redis::start().await.unwrap();
            let peer = builder(&vhost.url(), &target_name(target), &redis.url())
                .source_secret(queue(AUTHORITY), secret(AUTHORITY))
                .start()
                .await
                .unwrap();
            peer.ready().await.unwrap();
            peers.push((peer, redis));
        }
        let redis = Redis::start().await.unwrap();
        let authority = builder(&vhost.url(), AUTHORITY, &redis.url())
            .management(management)
            // Every event is counted here, so none may be missed.
            .event_capacity(1 << 17)
            .start()
            .await
            .unwrap();
        authority.ready().await.unwrap();
        Self { authority, targets: peers, redis, _vhost: vhost }
    }

    /// The authority's Redis and those of the targets.
    pub fn redis(&self) -> (&Redis, Vec<&Redis>) {
        (&self.redis, self.targets.iter().map(|(_, redis)| redis).collect())
    }

    /// Decides about a credential for all targets.
    pub async fn ensure(&self, credential: usize) {
        let targets = (0..self.targets.len()).map(|target| queue(&target_name(target)));
        let secret = ClientSecret::new(format!("secret {credential}")).unwrap();
        self.authority
            .ensure(Ensure::new(client(credential), secret).targets(targets))
            .await
            .unwrap();
    }

    /// One sync of so many new credentials, until the last answer is settled.
    pub async fn sync(&self, credentials: usize) {
        let mut events = self.authority.events();
        let summary = self.authority.sync().await.unwrap();
        assert_eq!(summary.targets_published, (credentials * self.targets.len()) as u64);
        complete(&mut events, credentials).await;
    }

    pub async fn close(self) {
        self.authority.close().await;
        for (target, _) in &self.targets {
            target.close().await;
        }
    }
}

/// A peer over one Redis, to be completed.
pub fn builder(amqp_url: &str, name: &str, redis_url: &str) -> Builder {
    let state = RedisState::open(redis_url).unwrap();
    let store = RedisCredentialStore::new(state.clone(), Track::Http, "hmac:http");
    Propagator::builder(broker_options(amqp_url), queue(name), secret(name), state)
        .credential_store(store)
}

async fn complete(events: &mut EventStream, mut credentials: usize) {
    while credentials > 0 {
        match events.next().await.unwrap() {
            Event::FullyPropagated { outcome, .. } => {
                assert_eq!(outcome, Outcome::Success);
                credentials -= 1;
            }
            Event::Missed { count } => panic!("missed {count} events"),
            _ => {}
        }
    }
}

fn broker_options(url: &str) -> BrokerOptions {
    let rest = url.strip_prefix("amqp://").unwrap();
    let (user, rest) = rest.split_once(':').unwrap();
    let (password, rest) = rest.split_once('@').unwrap();
    let (address, vhost) = rest.split_once('/').unwrap();
    let (host, port) = address.rsplit_once(':').unwrap();
    BrokerOptions::new(user, BrokerPassword::new(password))
        .address(host, port.parse().unwrap())
        .vhost(vhost)
}

pub fn target_name(target: usize) -> String {
    format!("target-{target}")
}

pub fn queue(name: &str) -> PeerQueue {
    PeerQueue::new(name).unwrap()
}

pub fn secret(name: &str) -> PropagationSecret {
    PropagationSecret::new(format!("secret of {name}")).unwrap()
}

fn client(credential: usize) -> ClientId {
    ClientId::new(format!("client-{credential}")).unwrap()
}
