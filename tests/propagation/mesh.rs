//! Peers for tests: each with its own Redis, all on one vhost of their own.

use std::time::Duration;

use hmac_propagator::broker::BrokerOptions;
use hmac_propagator::event::{Event, EventStream};
use hmac_propagator::id::{ClientId, CredentialKey, PeerQueue, Track};
use hmac_propagator::management::{MemoryManagement, Outcome, RowStatus, RowView};
use hmac_propagator::propagator::{Builder, Ensure, Propagator, Rotate};
use hmac_propagator::secret::{BrokerPassword, ClientSecret, PropagationSecret, SecretToken};
use hmac_propagator::state::RedisState;
use hmac_propagator::store::{Credential, CredentialStore, RedisCredentialStore};
use hmac_propagator_support::{Broker, Queues, Redis, Vhost, eventually};
use serde_json::Value;

/// Longest wait for anything that should happen.
pub const SOON: Duration = Duration::from_secs(20);

/// A vhost and what it takes to put peers on it.
pub struct Mesh {
    pub vhost: Vhost,
    pub queues: Queues,
    broker: Option<Broker>,
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
        let mut mesh = Self::on(&broker).await;
        mesh.broker = Some(broker);
        mesh
    }

    /// On a broker that the test keeps.
    pub async fn on(broker: &Broker) -> Self {
        let vhost = broker.vhost().await.unwrap();
        let queues = vhost.queues().await.unwrap();
        Self { vhost, queues, broker: None }
    }

    pub fn options(&self) -> BrokerOptions {
        broker_options(&self.vhost.url())
    }

    /// A peer over a store of its own, to be completed.
    pub fn peer(&self, name: &str, store: &Store) -> Builder {
        peer(self.options(), name, store)
    }

    /// A full peer that answers `sources` with signatures.
    pub async fn full(&self, name: &str, store: &Store, directory: &[&str]) -> Full {
        self.full_with(name, store, directory_of(directory), |builder| builder).await
    }

    /// A full peer that differs. A management side that `change` sets must stand on `management`.
    pub async fn full_with(
        &self,
        name: &str,
        store: &Store,
        management: MemoryManagement,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Full {
        let builder = self.peer(name, store).management(management.clone());
        Full { peer: ready(change(builder)).await, management }
    }

    /// A receive-only peer that can sign its answers to `source`.
    pub async fn target(&self, name: &str, store: &Store, source: &str) -> Propagator {
        let builder = self.peer(name, store);
        ready(builder.source_secret(queue(source), propagation_secret(source))).await
    }

    /// Puts a message into a peer's queue.
    pub async fn send(&self, to: &str, message: &Value) {
        self.queues.publish(&queue_name(to), message.to_string().as_bytes()).await.unwrap();
    }

    /// Waits for the next message in a queue that no peer consumes, apart from what peers tell of their
    /// stores.
    pub async fn take(&self, name: &str) -> Value {
        let name = queue_name(name);
        loop {
            let message =
                eventually(SOON, || async { self.queues.get(&name).await.unwrap() }).await;
            let message = serde_json::from_slice(&message.body).unwrap();
            if !is_announcement(&message) {
                return message;
            }
        }
    }

    /// All queues of the vhost. Takes about half a second.
    pub async fn queue_names(&self) -> Vec<String> {
        let broker = self.broker.as_ref().expect("the run's broker");
        let arguments =
            ["list_queues", "--quiet", "--no-table-headers", "-p", self.vhost.name(), "name"];
        let listed = broker.rabbitmqctl(&arguments).await.unwrap();
        listed.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// Waits until nothing is ready in a peer's queue any more.
    pub async fn drained(&self, name: &str) {
        let name = queue_name(name);
        eventually(SOON, || async {
            (self.queues.count(&name).await.unwrap() == Some(0)).then_some(())
        })
        .await;
    }

    /// Waits until so many messages are ready in a queue that no peer consumes, apart from what peers tell of their
    /// stores.
    pub async fn filled(&self, name: &str, messages: u32) {
        let name = queue_name(name);
        eventually(SOON, || async {
            if self.queues.count(&name).await.unwrap()? < messages {
                return None;
            }
            let bodies = self.queues.peek(&name).await.unwrap();
            let told = |body: &&Vec<u8>| !is_announcement(&serde_json::from_slice(body).unwrap());
            (bodies.iter().filter(told).count() == messages as usize).then_some(())
        })
        .await;
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

    /// Waits until a row has a status.
    pub async fn becomes(&self, client: &str, target: &str, status: RowStatus) {
        eventually(SOON, || async { (self.status(client, target) == status).then_some(()) }).await;
    }

    pub fn keeps_plain(&self, client: &str) -> bool {
        self.management.credential(&key(client)).unwrap().keeps_plain_secret
    }

    pub fn reported(&self, client: &str) -> Option<Outcome> {
        self.management.credential(&key(client)).unwrap().reported
    }

    /// Waits until a credential is reported as fully propagated.
    pub async fn reports(&self, client: &str) -> Outcome {
        eventually(SOON, || async { self.reported(client) }).await
    }

    /// Ensures a credential on track `http`; its secret is `secret of <client>`.
    pub async fn ensure(&self, client: &str, targets: &[&str]) {
        let targets: Vec<_> = targets.iter().map(|name| queue(name)).collect();
        let request = Ensure::new(client_id(client), secret(&format!("secret of {client}")));
        self.peer.ensure(request.targets(targets)).await.unwrap();
    }

    pub async fn rotate(&self, client: &str, to: &str) {
        self.peer.rotate(Rotate::new(client_id(client), secret(to))).await.unwrap();
    }

    pub async fn sync(&self) -> hmac_propagator::propagator::SyncSummary {
        self.peer.sync().await.unwrap()
    }
}

impl Store {
    pub async fn start() -> Self {
        Self::on(Redis::start().await.unwrap())
    }

    pub fn on(redis: Redis) -> Self {
        let state = RedisState::open(&redis.url()).unwrap();
        Self::with(redis, state)
    }

    /// Over a connection that the test has prepared.
    pub fn with(redis: Redis, state: RedisState) -> Self {
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

    /// The `ts` of the cursor.
    pub async fn cursor_ts(&self, client: &str) -> Option<f64> {
        self.http.cursor(&client_id(client)).await.unwrap().map(|cursor| cursor.ts.as_f64())
    }
}

/// Whether a message only tells of its sender's store.
pub fn is_announcement(message: &Value) -> bool {
    message["ackEventId"] == message["eventId"]
}

/// A peer over a store of its own, to be completed.
pub fn peer(options: BrokerOptions, name: &str, store: &Store) -> Builder {
    Propagator::builder(options, queue(name), propagation_secret(name), store.state.clone())
        .credential_store(store.http.clone())
        .credential_store(store.message.clone())
        .secret_token(SecretToken::new(format!("pepper of {name}")))
}

/// Starts a peer and waits until it is ready.
pub async fn ready(builder: Builder) -> Propagator {
    let peer = builder.start().await.unwrap();
    tokio::time::timeout(SOON, peer.ready()).await.expect("ready in time").unwrap();
    peer
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

/// The name of a peer's queue at the broker.
pub fn queue_name(peer: &str) -> String {
    format!("hmac-{peer}.queue")
}

pub fn propagation_secret(name: &str) -> PropagationSecret {
    PropagationSecret::new(propagation_secret_text(name)).unwrap()
}

pub fn propagation_secret_text(name: &str) -> String {
    format!("propagation-secret-of-{name}")
}

pub fn client_id(name: &str) -> ClientId {
    ClientId::new(name).unwrap()
}

pub fn secret(text: &str) -> ClientSecret {
    ClientSecret::new(text).unwrap()
}

pub fn key(client: &str) -> CredentialKey {
    key_on(Track::Http, client)
}

pub fn key_on(track: Track, client: &str) -> CredentialKey {
    CredentialKey::new(track, client_id(client))
}
