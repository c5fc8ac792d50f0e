//! The propagator over the SQL adapter, with a real broker and real Redis servers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hmac_propagator::broker::BrokerOptions;
use hmac_propagator::event::Event;
use hmac_propagator::id::{Actor, PeerQueue, Track};
use hmac_propagator::management::sql::{AuditQuery, SqlManagement};
use hmac_propagator::management::{
    CredentialPage, FetchCredentials, FetchPending, FullyPropagated, Management, ManagementError,
    Marked, Outcome, PendingPage, ReopenRows, Reopened, RotateCredential, Rotated, RowStatus,
    TargetError, TargetSent, TargetSuccess, UpsertCredential, Upserted,
};
use hmac_propagator::propagator::{Builder, Ensure, Propagator, Rotate};
use hmac_propagator::secret::{BrokerPassword, ClientSecret, PropagationSecret};
use hmac_propagator::state::RedisState;
use hmac_propagator::store::{CredentialStore, RedisCredentialStore};
use hmac_propagator::testing::management::world::{key, queue, secret_of};
use hmac_propagator_support::{Broker, Redis, SqlKind, Vhost, eventually};
use tokio::sync::Notify;

use crate::database::TestDatabase;
use crate::world::directory;

const SOON: Duration = Duration::from_secs(30);

crate::on_each_database!(
    a_credential_reaches_its_targets_and_every_row_is_true,
    of_two_authorities_one_paused_in_its_sync_each_event_goes_out_once,
    a_worker_that_was_paused_in_its_sync_overwrites_nothing_newer,
    a_row_that_cannot_be_read_says_so_and_the_others_propagate,
);

/// A peer's Redis.
struct Store {
    state: RedisState,
    http: RedisCredentialStore,
    redis: Redis,
}

impl Store {
    async fn start() -> Self {
        let redis = Redis::start().await.unwrap();
        let state = RedisState::open(&redis.url()).unwrap();
        let http = RedisCredentialStore::new(state.clone(), Track::Http, "hmac:http");
        Self { state, http, redis }
    }

    fn peer(&self, vhost: &Vhost, name: &str) -> Builder {
        Propagator::builder(options(vhost), queue(name), secret_of(name), self.state.clone())
            .credential_store(self.http.clone())
    }

    async fn hash(&self, client: &str) -> Option<String> {
        let found = self.http.get(&key(client).client_id).await.unwrap();
        found.map(|found| found.secret_hash.expose().to_owned())
    }
}

fn options(vhost: &Vhost) -> BrokerOptions {
    let url = vhost.url();
    let (login, place) = url.trim_start_matches("amqp://").split_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    let (address, vhost) = place.split_once('/').unwrap();
    let (host, port) = address.rsplit_once(':').unwrap();
    BrokerOptions::new(user, BrokerPassword::new(password))
        .address(host, port.parse().unwrap())
        .vhost(vhost)
}

async fn start(builder: Builder) -> Propagator {
    let peer = builder.start().await.unwrap();
    peer.ready().await.unwrap();
    peer
}

async fn ensure(peer: &Propagator, client: &str, targets: &[&str]) {
    let secret = ClientSecret::new(format!("secret of {client}")).unwrap();
    let targets = targets.iter().map(|target| queue(target));
    peer.ensure(Ensure::new(key(client).client_id, secret).targets(targets)).await.unwrap();
}

async fn status(management: &SqlManagement, client: &str, target: &str) -> RowStatus {
    let info = management.credential(&key(client)).await.unwrap().unwrap();
    info.targets.into_iter().find(|row| row.target == queue(target)).unwrap().status
}

async fn a_credential_reaches_its_targets_and_every_row_is_true(database: TestDatabase) {
    let broker = Broker::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let (own, b) = (Store::start().await, Store::start().await);
    let management = database.open().await;
    directory(&management, &["b"]).await;
    let authority = start(own.peer(&vhost, "authority").management(management.clone())).await;
    let source = (queue("authority"), secret_of("authority"));
    let _b = start(b.peer(&vhost, "b").source_secret(source.0, source.1)).await;
    ensure(&authority, "orders", &["b"]).await;
    for rotation in 0..3 {
        authority.sync().await.unwrap();
        let info = eventually(SOON, || async {
            let info = management.credential(&key("orders")).await.unwrap().unwrap();
            info.reported.is_some().then_some(info)
        })
        .await;
        assert_eq!(info.reported, Some(Outcome::Success));
        assert_eq!(b.hash("orders").await, own.hash("orders").await);
        let secret = ClientSecret::new(format!("rotation {rotation}")).unwrap();
        let rotate = Rotate::new(key("orders").client_id, secret);
        authority.rotate(rotate.actor(Actor::new("bob").unwrap())).await.unwrap();
        assert_ne!(b.hash("orders").await, own.hash("orders").await);
    }
    let by_bob = management.audit(&AuditQuery::newest(100)).await.unwrap();
    assert_eq!(by_bob.iter().filter(|entry| entry.actor == "bob").count(), 3);
    authority.close().await;
}

/// Stops after it has fetched, until it is told to go on.
#[derive(Debug)]
struct Paused {
    inner: SqlManagement,
    fetched: Arc<Notify>,
    go_on: Arc<Notify>,
}

#[async_trait]
impl Management for Paused {
    async fn fetch_pending_propagations(
        &self,
        request: FetchPending,
    ) -> Result<PendingPage, ManagementError> {
        let page = self.inner.fetch_pending_propagations(request).await;
        self.fetched.notify_one();
        self.go_on.notified().await;
        page
    }

    async fn upsert_credential_with_targets(
        &self,
        request: UpsertCredential,
    ) -> Result<Upserted, ManagementError> {
        self.inner.upsert_credential_with_targets(request).await
    }

    async fn rotate_credential_secret(
        &self,
        request: RotateCredential,
    ) -> Result<Option<Rotated>, ManagementError> {
        self.inner.rotate_credential_secret(request).await
    }

    async fn fetch_source_propagation_secret(
        &self,
        source: &PeerQueue,
    ) -> Result<Option<PropagationSecret>, ManagementError> {
        self.inner.fetch_source_propagation_secret(source).await
    }

    async fn mark_target_sent(&self, sent: &[TargetSent]) -> Result<(), ManagementError> {
        self.inner.mark_target_sent(sent).await
    }

    async fn mark_target_success(
        &self,
        applied: &[TargetSuccess],
    ) -> Result<Vec<Marked>, ManagementError> {
        self.inner.mark_target_success(applied).await
    }

    async fn mark_target_error(
        &self,
        failed: &[TargetError],
    ) -> Result<Vec<Marked>, ManagementError> {
        self.inner.mark_target_error(failed).await
    }

    async fn mark_credential_fully_propagated(
        &self,
        report: FullyPropagated,
    ) -> Result<(), ManagementError> {
        self.inner.mark_credential_fully_propagated(report).await
    }

    async fn reopen_rows(&self, request: ReopenRows) -> Result<Reopened, ManagementError> {
        self.inner.reopen_rows(request).await
    }

    async fn fetch_credentials(
        &self,
        request: FetchCredentials,
    ) -> Result<CredentialPage, ManagementError> {
        self.inner.fetch_credentials(request).await
    }

    async fn fetch_peers(&self) -> Result<Vec<PeerQueue>, ManagementError> {
        self.inner.fetch_peers().await
    }
}

/// Each with a Redis of its own, so that only the database keeps them apart.
async fn of_two_authorities_one_paused_in_its_sync_each_event_goes_out_once(
    database: TestDatabase,
) {
    let broker = Broker::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let queues = vhost.queues().await.unwrap();
    let (first_store, second_store) = (Store::start().await, Store::start().await);
    let (first, second) = (database.open().await, database.open().await);
    directory(&first, &["b"]).await;
    let (fetched, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let paused = Paused { inner: first.clone(), fetched: fetched.clone(), go_on: go_on.clone() };
    let slow = start(first_store.peer(&vhost, "authority").management(paused)).await;
    let quick = start(second_store.peer(&vhost, "authority").management(second)).await;
    for number in 0..10 {
        ensure(&slow, &format!("client-{number}"), &["b"]).await;
    }
    let syncing = tokio::spawn(async move { slow.sync().await.map(|summary| (slow, summary)) });
    tokio::time::timeout(SOON, fetched.notified()).await.unwrap();
    for number in 10..20 {
        ensure(&quick, &format!("client-{number}"), &["b"]).await;
    }
    assert_eq!(quick.sync().await.unwrap().targets_published, 10);
    go_on.notify_one();
    let (slow, summary) = syncing.await.unwrap().unwrap();
    assert_eq!(summary.targets_published, 10);
    assert_eq!(quick.sync().await.unwrap().targets_published, 0);
    assert_eq!(queues.count("hmac-b.queue").await.unwrap(), Some(20));
    for number in 0..20 {
        assert_eq!(status(&first, &format!("client-{number}"), "b").await, RowStatus::Sent);
    }
    slow.close().await;
    quick.close().await;
}

/// What it fetched is a revision behind when it goes on.
async fn a_worker_that_was_paused_in_its_sync_overwrites_nothing_newer(database: TestDatabase) {
    let broker = Broker::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let (own, b) = (Store::start().await, Store::start().await);
    let (first, second) = (database.open().await, database.open().await);
    directory(&first, &["b"]).await;
    let (fetched, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let paused = Paused { inner: first.clone(), fetched: fetched.clone(), go_on: go_on.clone() };
    let slow = start(own.peer(&vhost, "authority").management(paused)).await;
    let quick = start(own.peer(&vhost, "authority").management(second)).await;
    let source = (queue("authority"), secret_of("authority"));
    let target = start(b.peer(&vhost, "b").source_secret(source.0, source.1)).await;
    ensure(&quick, "orders", &["b"]).await;
    let syncing = tokio::spawn(async move { slow.sync().await.map(|_| slow) });
    tokio::time::timeout(SOON, fetched.notified()).await.unwrap();
    let old = own.hash("orders").await;
    let rotate = Rotate::new(key("orders").client_id, ClientSecret::new("second").unwrap());
    quick.rotate(rotate).await.unwrap();
    let decided = own.hash("orders").await;
    assert_ne!(decided, old);
    let settled = || async {
        quick.sync().await.unwrap();
        let info = first.credential(&key("orders")).await.unwrap().unwrap();
        (info.reported == Some(Outcome::Success)).then_some(info.revision)
    };
    let revision = eventually(SOON, settled).await;
    assert_eq!(b.hash("orders").await, decided);

    go_on.notify_one();
    let slow = tokio::time::timeout(SOON, syncing).await.unwrap().unwrap().unwrap();
    // Whatever it sent has been read and answered once a later event has.
    ensure(&quick, "marker", &["b"]).await;
    eventually(SOON, || async {
        quick.sync().await.unwrap();
        (status(&first, "marker", "b").await == RowStatus::Success).then_some(())
    })
    .await;
    let info = first.credential(&key("orders")).await.unwrap().unwrap();
    assert_eq!((info.revision, info.reported), (revision, Some(Outcome::Success)));
    assert_eq!(info.targets[0].status, RowStatus::Success);
    assert_eq!((own.hash("orders").await, b.hash("orders").await), (decided.clone(), decided));
    for peer in [slow, quick, target] {
        peer.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_arrives_while_postgres_is_killed_counts_when_it_is_back() {
    an_answer_that_arrives_while_the_database_is_killed_counts(SqlKind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_arrives_while_mariadb_is_killed_counts_when_it_is_back() {
    an_answer_that_arrives_while_the_database_is_killed_counts(SqlKind::MariaDb).await;
}

async fn an_answer_that_arrives_while_the_database_is_killed_counts(kind: SqlKind) {
    let database = TestDatabase::private(kind).await;
    let broker = Broker::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let (own, b) = (Store::start().await, Store::start().await);
    let management = database.open().await;
    directory(&management, &["b"]).await;
    let (first, most) = (Duration::from_millis(20), Duration::from_millis(200));
    let builder = own.peer(&vhost, "authority").management(management.clone());
    let authority = start(builder.retry(first, most).answer_timeout(first, most)).await;
    let source = (queue("authority"), secret_of("authority"));
    let builder = b.peer(&vhost, "b").source_secret(source.0, source.1);
    let target = start(builder.retry(first, most)).await;
    // It has the event in hand, and answers when its Redis takes writes again.
    b.redis.set_read_only(true).await.unwrap();
    ensure(&authority, "orders", &["b"]).await;
    authority.sync().await.unwrap();
    assert_eq!(status(&management, "orders", "b").await, RowStatus::Sent);
    database.server_of().kill().await.unwrap();
    let mut events = authority.events();
    b.redis.set_read_only(false).await.unwrap();
    let unrecorded =
        async { while !matches!(events.next().await.unwrap(), Event::Retrying { .. }) {} };
    tokio::time::timeout(SOON, unrecorded).await.expect("the answer arrives");
    assert_eq!(b.hash("orders").await, own.hash("orders").await);

    database.server_of().restart().await.unwrap();
    eventually(SOON, || async {
        let _ = authority.sync().await;
        let info = management.credential(&key("orders")).await.ok()??;
        (info.reported == Some(Outcome::Success)).then_some(())
    })
    .await;
    assert_eq!(status(&management, "orders", "b").await, RowStatus::Success);
    target.close().await;
    authority.close().await;
}

/// Somebody wrote into the tables past the adapter.
async fn a_row_that_cannot_be_read_says_so_and_the_others_propagate(database: TestDatabase) {
    let broker = Broker::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let store = Store::start().await;
    let management = database.open().await;
    directory(&management, &["b", "c"]).await;
    let authority = start(store.peer(&vhost, "authority").management(management.clone())).await;
    for client in ["bad-hash", "bad-rules", "good"] {
        ensure(&authority, client, &["b"]).await;
    }
    ensure(&authority, "no-secret", &["c"]).await;
    for damage in [
        "UPDATE hmac_credentials SET secret_hash = 'plain:xyz' WHERE client_id = 'bad-hash'",
        "UPDATE hmac_credentials SET allowed_ips = '[\"10.0.0.0/33\"]' WHERE client_id = 'bad-rules'",
        "DELETE FROM hmac_propagation_targets WHERE queue = 'c'",
    ] {
        database.raw(damage).await;
    }
    authority.sync().await.unwrap();
    assert_eq!(status(&management, "good", "b").await, RowStatus::Sent);
    for (client, word) in
        [("bad-hash", "secretHash"), ("bad-rules", "allowedIps"), ("no-secret", "directory")]
    {
        let info = management.credential(&key(client)).await.unwrap().unwrap();
        assert_eq!(info.targets[0].status, RowStatus::Error, "{client}");
        let reason = info.targets[0].last_error.clone().unwrap();
        assert!(reason.contains(word), "{client}: {reason}");
    }
    authority.close().await;
}
