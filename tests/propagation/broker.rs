//! Whatever the broker does, nothing is lost and the peer says how it is.

use std::time::Duration;

use hmac_propagator::broker::BrokerOptions;
use hmac_propagator::error::ErrorKind;
use hmac_propagator::event::{Event, EventStream, Link};
use hmac_propagator::management::{MemoryManagement, Outcome, RowStatus};
use hmac_propagator::propagator::{Builder, LinkState, Propagator};
use hmac_propagator_support::{Broker, Mode, Proxy, eventually};

use crate::help::{Recorder, ack, apply, hash_of, now_ms};
use crate::mesh::{
    Full, Mesh, SOON, Store, broker_options, directory_of, peer, propagation_secret, queue,
    queue_name, ready, seen,
};

/// Starting a node takes seconds on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Short deadlines, so that a fault is noticed within the test.
fn hasty(mut options: BrokerOptions) -> BrokerOptions {
    options.heartbeat = Duration::from_secs(1);
    options.connect_deadline = Duration::from_secs(5);
    options.publish_deadline = Duration::from_secs(2);
    options.declare_deadline = Duration::from_secs(2);
    options.reconnect_most = Duration::from_millis(300);
    options
}

fn quick(builder: Builder) -> Builder {
    builder.answer_timeout(Duration::from_millis(50), Duration::from_millis(200))
}

async fn authority(options: BrokerOptions, store: &Store, targets: &[&str]) -> Full {
    let management = directory_of(targets);
    let builder = quick(peer(hasty(options), "authority", store));
    Full { peer: ready(builder.management(management.clone())).await, management }
}

async fn target(options: BrokerOptions, store: &Store) -> Propagator {
    let builder = peer(hasty(options), "b", store);
    ready(builder.source_secret(queue("authority"), propagation_secret("authority"))).await
}

async fn ready_again(peer: &Propagator) {
    tokio::time::timeout(LONG, peer.ready()).await.expect("ready in time").unwrap();
}

async fn unready(peer: &Propagator) {
    eventually(SOON, || async { (!peer.status().await.is_ready()).then_some(()) }).await;
}

/// Syncs until every client is reported; all must hold what the authority holds.
async fn converges(authority: &Full, at: &Store, b: &Store, clients: &[String]) {
    let syncing = eventually(LONG, || async {
        // May fail while the connection comes back.
        let _ = authority.peer.sync().await;
        let done = clients.iter().all(|client| authority.reported(client).is_some());
        done.then_some(())
    });
    syncing.await;
    for client in clients {
        assert_eq!(authority.reported(client), Some(Outcome::Success), "{client}");
        assert_eq!(b.hash(client).await, at.hash(client).await, "{client}");
    }
}

fn clients(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("c{number}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_in_the_middle_of_a_sync_loses_nothing() {
    let broker = Broker::start_private().await.unwrap();
    let mesh = Mesh::on(&broker).await;
    let (at, b) = (Store::start().await, Store::start().await);
    let authority = authority(mesh.options(), &at, &["b"]).await;
    let clients = clients(400);
    for client in &clients {
        authority.ensure(client, &["b"]).await;
    }
    let mut events = authority.peer.events();
    let syncing = tokio::spawn({
        let peer = authority.peer.clone();
        async move { peer.sync().await }
    });
    for _ in 0..20 {
        seen(&mut events, |e| matches!(e, Event::EventPublished { .. }).then_some(())).await;
    }
    broker.kill().await.unwrap();
    unready(&authority.peer).await;
    // Ended by its deadline, whichever way: the kill may have come too late to be noticed.
    let ended = tokio::time::timeout(SOON, syncing).await.expect("sync ends").unwrap();
    assert!(ended.is_ok() || ended.unwrap_err().kind() == ErrorKind::Broker);
    let failed = authority.peer.sync().await.unwrap_err();
    assert_eq!((failed.kind(), failed.is_transient()), (ErrorKind::Broker, true));
    assert!(authority.peer.status().await.last_sync.unwrap().error.is_some());

    broker.restart().await.unwrap();
    ready_again(&authority.peer).await;
    let _b = target(mesh.options(), &b).await;
    converges(&authority, &at, &b, &clients).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_alarm_ends_a_sync_by_its_deadline_and_delays_only_what_is_published() {
    let broker = Broker::start_private().await.unwrap();
    let mesh = Mesh::on(&broker).await;
    let (at, b) = (Store::start().await, Store::start().await);
    let authority = authority(mesh.options(), &at, &["b"]).await;
    let _b = target(mesh.options(), &b).await;
    let clients = clients(3);
    authority.ensure(&clients[0], &["b"]).await;
    converges(&authority, &at, &b, &clients[..1]).await;

    broker.set_memory_alarm(true).await.unwrap();
    for client in &clients[1..] {
        authority.ensure(client, &["b"]).await;
    }
    let syncing = tokio::time::timeout(SOON, authority.peer.sync()).await;
    assert_eq!(syncing.expect("ends by its deadline").unwrap_err().kind(), ErrorKind::Broker);
    let status = authority.peer.status().await;
    assert!(!status.is_ready());
    assert!(matches!(status.publisher, LinkState::Down { .. }), "{status:?}");
    assert!(status.consumer.is_up(), "{status:?}");
    for client in &clients[1..] {
        assert_eq!(authority.status(client, "b"), RowStatus::Pending);
    }
    broker.set_memory_alarm(false).await.unwrap();
    ready_again(&authority.peer).await;
    converges(&authority, &at, &b, &clients).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_restarted_in_good_order_finds_both_sides_again() {
    let broker = Broker::start_private().await.unwrap();
    let mesh = Mesh::on(&broker).await;
    let (at, b) = (Store::start().await, Store::start().await);
    let authority = authority(mesh.options(), &at, &["b"]).await;
    let target = target(mesh.options(), &b).await;
    let clients = clients(50);
    for client in &clients {
        authority.ensure(client, &["b"]).await;
    }
    converges(&authority, &at, &b, &clients).await;
    // The broker itself, not the machine it runs on: seconds instead of half a minute.
    broker.rabbitmqctl(&["stop_app"]).await.unwrap();
    unready(&authority.peer).await;
    unready(&target).await;
    for client in &clients {
        authority.rotate(client, "second").await;
    }
    broker.rabbitmqctl(&["start_app"]).await.unwrap();
    ready_again(&authority.peer).await;
    ready_again(&target).await;
    converges(&authority, &at, &b, &clients).await;
}

async fn lost(events: &mut EventStream, wanted: Link) {
    seen(events, |event| {
        matches!(event, Event::Disconnected { link, .. } if *link == wanted).then_some(())
    })
    .await;
}

async fn back(events: &mut EventStream, wanted: Link) {
    seen(events, |event| {
        matches!(event, Event::Connected { link, again: true } if *link == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_noticed_within_heartbeats_and_left_behind() {
    let mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let real = mesh.options();
    let upstream = format!("{}:{}", real.host, real.port).parse().unwrap();
    let proxy = Proxy::start(upstream).await.unwrap();
    let options = broker_options(&mesh.vhost.url_via(proxy.address()));
    let authority = authority(options, &at, &["b"]).await;
    let _b = target(mesh.options(), &b).await;
    let mut events = authority.peer.events();
    let began = std::time::Instant::now();
    proxy.set_mode(Mode::BlackHole);
    let (mut more, clients) = (authority.peer.events(), clients(5));
    tokio::join!(lost(&mut events, Link::Publisher), lost(&mut more, Link::Consumer));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(!authority.peer.status().await.is_ready());
    // Decisions take effect here all the while.
    for client in &clients {
        authority.ensure(client, &["b"]).await;
        assert!(at.hash(client).await.is_some());
    }
    proxy.set_mode(Mode::Pass);
    proxy.reset_connections();
    ready_again(&authority.peer).await;
    converges(&authority, &at, &b, &clients).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_queue_that_is_deleted_is_declared_and_consumed_again() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let b = target(mesh.options(), &store).await;
    mesh.queues.declare("hmac-authority.queue").await.unwrap();
    for number in 0..3 {
        let mut events = b.events();
        mesh.queues.delete(&queue_name("b")).await.unwrap();
        lost(&mut events, Link::Consumer).await;
        back(&mut events, Link::Consumer).await;
        ready_again(&b).await;
        let event = apply("authority", "b", "orders", now_ms(), &hash_of(number));
        mesh.send("b", &event).await;
        assert_eq!(mesh.take("authority").await["ackEventId"], event["eventId"]);
        assert_eq!(store.hash("orders").await, Some(hash_of(number)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_connections_are_opened_again_on_both_sides() {
    let mut mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let authority = authority(mesh.options(), &at, &["b"]).await;
    let target = target(mesh.options(), &b).await;
    let clients = clients(20);
    for round in clients.chunks(10) {
        let mut events = [authority.peer.events(), authority.peer.events(), target.events()];
        for client in round {
            authority.ensure(client, &["b"]).await;
        }
        let peer = authority.peer.clone();
        let syncing = tokio::spawn(async move { peer.sync().await });
        mesh.vhost.close_connections().await.unwrap();
        let [publisher, consumer, other] = &mut events;
        tokio::join!(
            back(publisher, Link::Publisher),
            back(consumer, Link::Consumer),
            back(other, Link::Consumer)
        );
        let _ = syncing.await.unwrap();
        mesh.queues = mesh.vhost.queues().await.unwrap();
        converges(&authority, &at, &b, round).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_queue_that_was_deleted_is_declared_again_and_no_lost_event_counts_as_sent() {
    const CLIENTS: usize = 30;
    let mesh = Mesh::new().await;
    let at = Store::start().await;
    let names: Vec<String> = (0..8).map(|number| format!("t{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let authority = mesh.full("authority", &at, &names).await;
    let clients = clients(CLIENTS);
    for client in &clients {
        authority.ensure(client, &names).await;
    }
    authority.sync().await;
    let (deleted, kept) = names.split_at(2);
    for name in deleted {
        mesh.queues.delete(&queue_name(name)).await.unwrap();
    }
    for client in &clients {
        authority.rotate(client, "second").await;
    }
    assert_eq!(authority.sync().await.targets_published, (CLIENTS * names.len()) as u64);
    for name in deleted {
        mesh.filled(name, CLIENTS as u32).await;
        let message = mesh.take(name).await;
        let client = message["clientId"].as_str().unwrap();
        assert_eq!(message["payload"]["secretHash"].as_str(), at.hash(client).await.as_deref());
        assert_eq!(authority.status(client, name), RowStatus::Sent);
        mesh.send("authority", &ack(&message, name)).await;
        authority.becomes(client, name, RowStatus::Success).await;
    }
    for name in kept {
        mesh.filled(name, 2 * CLIENTS as u32).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_whose_source_has_no_queue_is_told_and_holds_nothing_up() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let recorder = Recorder::default();
    let b = ready(mesh.peer("b", &store).observer(recorder.clone())).await;
    let mut events = b.events();
    mesh.send("b", &apply("nowhere", "b", "orders", now_ms(), &hash_of(1))).await;
    let undeliverable = |e: &Event| matches!(e, Event::AnswerUndeliverable { source } if *source == queue("nowhere"));
    seen(&mut events, |e| undeliverable(e).then_some(())).await;
    mesh.drained("b").await;
    assert_eq!(store.hash("orders").await, Some(hash_of(1)));
    assert_eq!(mesh.queues.count(&queue_name("nowhere")).await.unwrap(), None);
    assert_eq!(recorder.count(undeliverable), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_starts_while_the_broker_is_down_decides_and_becomes_ready_later() {
    let mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let real = mesh.options();
    let upstream = format!("{}:{}", real.host, real.port).parse().unwrap();
    let proxy = Proxy::start(upstream).await.unwrap();
    proxy.set_mode(Mode::CloseNew);
    let options = hasty(broker_options(&mesh.vhost.url_via(proxy.address())));
    let management: MemoryManagement = directory_of(&["b"]);
    let builder = || quick(peer(options.clone(), "authority", &at)).management(management.clone());

    let refused = builder().fail_fast(true).start().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Broker);
    assert!(refused.to_string().contains("publisher"), "{refused}");

    let authority = Full { peer: builder().start().await.unwrap(), management: management.clone() };
    let status = authority.peer.status().await;
    assert!(!status.is_ready() && !status.publisher.is_up() && !status.consumer.is_up());
    authority.ensure("orders", &["b"]).await;
    assert!(at.hash("orders").await.is_some());
    assert_eq!(authority.peer.sync().await.unwrap_err().kind(), ErrorKind::Broker);
    assert_eq!(authority.status("orders", "b"), RowStatus::Pending);

    proxy.set_mode(Mode::Pass);
    ready_again(&authority.peer).await;
    let _b = target(mesh.options(), &b).await;
    converges(&authority, &at, &b, &["orders".to_owned()]).await;
}
