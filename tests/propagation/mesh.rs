//! Peers for tests: each with its own Redis, all on one vhost of their own.

use std::time::Duration;

use hmac_propagator::broker::BrokerOptions;
use hmac_propagator::event::{Event, EventStream};
use hmac_propagator::id::{ClientId, CredentialKey, PeerQueue, Track};
use hmac_propagator::management::{MemoryManagement, Outcome, RowStatus, RowView};
use hmac_propagator::propagator::{Builder, Propagator};
use hmac_propagator::secret::{BrokerPassword, ClientSecret, PropagationSecret, SecretToken};
use hmac_propagator::state::RedisState;
use hmac_propagator::store::{Credential, CredentialStore, RedisCredentialStore};
use hmac_propagator_support::{Broker, Queues, Redis, Vhost};

/// Longest wait for anything that should happen.
pub const SOON: Duration = Duration::from_secs(20);

/// A vhost and what it takes to put peers on it.
pub struct Mesh {
    pub vhost: Vhost,
    pub queues: Queues,
    _broker: Broker,
}

/// A Redis of one peer, with what a verifier would see in it.
pub struct Store {
    pub redis: Redis,
    pub state: RedisState,
    pub http: RedisCredentialStore,
    pub message: RedisCredentialStore,
}

impl Mesh {
    pub async fn new() -> Self {
        let broker = Broker::start().await.unwrap();
        let vhost = broker.vhost().await.unwrap();
        let queues = vhost.queues().await.unwrap();
        Self { vhost, queues, _broker: broker }
    }

    pub fn options(&self) -> BrokerOptions {
        broker_options(&self.vhost.url())
    }

    /// A peer over a store of its own, to be completed.
    pub fn peer(&self, name: &str, store: &Store) -> Builder {
        Propagator::builder(
            self.options(),
            queue(name),
            propagation_secret(name),
            store.state.clone(),
        )
        .credential_store(store.http.clone())
        .credential_store(store.message.clone())
        .secret_token(SecretToken::new(format!("pepper of {name}")))
    }

    /// A full peer that answers `sources` with signatures.
    pub async fn full(&self, name: &str, store: &Store, directory: &[&str]) -> Full {
        let management = directory_of(directory);
        let peer = self.peer(name, store).management(management.clone()).start().await.unwrap();
        peer.ready().await.unwrap();
        Full { peer, management }
    }

    /// A receive-only peer that can sign its answers to `source`.
    pub async fn target(&self, name: &str, store: &Store, source: &str) -> Propagator {
        let builder = self.peer(name, store);
        let peer = builder.source_secret(queue(source), propagation_secret(source)).start().await;
        let peer = peer.unwrap();
        peer.ready().await.unwrap();
        peer
    }
}

/// A full peer and its management side.
pub struct Full {
    pub peer: Propagator,
    pub management: MemoryManagement,
}

impl Full {
    pub fn row(&self, client: &str, target: &str) -> RowView {
        self.row_on(Track::Http, client, target)
    }

    pub fn row_on(&self, track: Track, client: &str, target: &str) -> RowView {
        let rows = self.management.rows(&key_on(track, client));
        rows.into_iter().find(|row| row.target == queue(target)).unwrap()
    }

    pub fn status(&self, client: &str, target: &str) -> RowStatus {
        self.row(client, target).status
    }
}

impl Store {
    pub async fn start() -> Self {
        Self::on(Redis::start().await.unwrap())
    }

    pub fn on(redis: Redis) -> Self {
        let state = RedisState::open(&redis.url()).unwrap();
        let http = RedisCredentialStore::new(state.clone(), Track::Http, "hmac:http");
        let message = RedisCredentialStore::new(state.clone(), Track::Message, "hmac:message");
        Self { redis, state, http, message }
    }

    pub async fn credential(&self, client: &str) -> Option<Credential> {
        self.http.get(&client_id(client)).await.unwrap()
    }

    /// The hash that a verifier on this Redis would use.
    pub async fn hash(&self, client: &str) -> Option<String> {
        self.credential(client).await.map(|found| found.secret_hash.expose().to_owned())
    }
}

/// Waits for an event.
pub async fn seen<T>(events: &mut EventStream, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    let mut passed = Vec::new();
    let found = tokio::time::timeout(SOON, async {
        loop {
            let event = events.next().await.expect("the peer is open");
            if let Some(found) = wanted(&event) {
                return found;
            }
            passed.push(event);
        }
    });
    match found.await {
        Ok(found) => found,
        Err(_) => panic!("not seen in time; what was seen: {passed:#?}"),
    }
}

/// Waits until a client's current revision is complete.
pub async fn complete(events: &mut EventStream, client: &str) -> Outcome {
    seen(events, |event| match event {
        Event::FullyPropagated { key, outcome, .. } if *key == key_on(key.track, client) => {
            Some(*outcome)
        }
        _ => None,
    })
    .await
}

pub fn broker_options(url: &str) -> BrokerOptions {
    let rest = url.strip_prefix("amqp://").unwrap();
    let (user, rest) = rest.split_once(':').unwrap();
    let (password, rest) = rest.split_once('@').unwrap();
    let (address, vhost) = rest.split_once('/').unwrap();
    let (host, port) = address.rsplit_once(':').unwrap();
    BrokerOptions::new(user, BrokerPassword::new(password))
        .address(host, port.parse().unwrap())
        .vhost(vhost)
}

pub fn directory_of(peers: &[&str]) -> MemoryManagement {
    let management = MemoryManagement::new();
    for peer in peers {
        management.add_target(queue(peer), propagation_secret(peer));
    }
    management
}

pub fn queue(name: &str) -> PeerQueue {
    PeerQueue::new(name).unwrap()
}

pub fn propagation_secret(name: &str) -> PropagationSecret {
    PropagationSecret::new(format!("propagation-secret-of-{name}")).unwrap()
}

pub fn client_id(name: &str) -> ClientId {
    ClientId::new(name).unwrap()
}

pub fn secret(text: &str) -> ClientSecret {
    ClientSecret::new(text).unwrap()
}

pub fn key_on(track: Track, client: &str) -> CredentialKey {
    CredentialKey::new(track, client_id(client))
}
