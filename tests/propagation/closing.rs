//! Closing finishes what is in hand, in time, and loses nothing of the rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hmac_propagator::error::ErrorKind;
use hmac_propagator::event::Event;
use hmac_propagator::management::{Outcome, RowStatus};
use hmac_propagator::propagator::{Ensure, LinkState, Revoke, Rotate};
use hmac_propagator_support::eventually;
use tokio::sync::Semaphore;

use crate::help::{
    Between, Call, RawPublisher, RawTarget, Recorder, Script, apply, hash_of, now_ms,
};
use crate::mesh::{Mesh, SOON, Store, client_id, complete, directory_of, queue, ready, secret};

const EVENTS: u64 = 1500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_hand_is_finished_and_the_rest_stays_with_the_broker() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let recorder = Recorder::default();
    mesh.queues.declare("hmac-b.queue").await.unwrap();
    mesh.queues.declare("hmac-source.queue").await.unwrap();
    let base = now_ms() - 1000;
    let events: Vec<_> =
        (0..EVENTS).map(|n| apply("source", "b", &format!("c{n}"), base, &hash_of(n))).collect();
    RawPublisher::connect(&mesh).await.send_all("b", &events).await;

    let mut builder = mesh.options();
    builder.prefetch = 16;
    let peer = |options| crate::mesh::peer(options, "b", &store).observer(recorder.clone());
    let b = ready(peer(builder.clone())).await;
    let applied = |recorder: &Recorder| {
        recorder.count(|event| matches!(event, Event::CredentialApplied { .. })) as u64
    };
    eventually(SOON, || async { (applied(&recorder) > 0).then_some(()) }).await;
    b.close().await;
    assert_eq!(b.status().await.consumer, LinkState::Closed);
    let done = applied(&recorder);
    assert!(done < EVENTS, "closed too late to show anything");
    // What was applied was answered and let go, and nothing else was.
    mesh.filled("source", u32::try_from(done).unwrap()).await;
    mesh.filled("b", u32::try_from(EVENTS - done).unwrap()).await;

    let _again = ready(peer(builder)).await;
    mesh.filled("source", u32::try_from(EVENTS).unwrap()).await;
    assert_eq!(applied(&recorder), EVENTS);
    for number in 0..EVENTS {
        assert_eq!(store.hash(&format!("c{number}")).await, Some(hash_of(number)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_is_cut_short_by_close_goes_on_at_the_next_start() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let memory = directory_of(&["b"]);
    let b = RawTarget::instant(&mesh, "b").await;
    let start =
        || mesh.full_with("authority", &store, memory.clone(), |builder| builder.page_size(20));
    let authority = start().await;
    let clients: Vec<String> = (0..200).map(|number| format!("c{number}")).collect();
    for client in &clients {
        authority.ensure(client, &["b"]).await;
    }
    let peer = authority.peer.clone();
    let syncing = tokio::spawn(async move { peer.sync().await });
    b.nth(0).await;
    authority.peer.close().await;
    let ended = syncing.await.unwrap();
    assert!(ended.is_ok() || ended.unwrap_err().kind() == ErrorKind::Closed);

    let authority = start().await;
    eventually(SOON, || async {
        authority.sync().await;
        clients.iter().all(|client| authority.reported(client).is_some()).then_some(())
    })
    .await;
    for client in &clients {
        assert_eq!(authority.reported(client), Some(Outcome::Success));
    }
    // Nothing was sent twice: what was published before the end was recorded.
    b.nth(clients.len() - 1).await;
    assert_eq!(b.seen().len(), clients.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_twice_or_at_once_is_the_same_and_later_calls_fail_as_closed() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let authority = mesh.full("authority", &store, &["b"]).await;
    authority.ensure("orders", &["b"]).await;
    let (one, two) = (authority.peer.clone(), authority.peer.clone());
    tokio::join!(one.close(), two.close(), authority.peer.close());
    authority.peer.close().await;
    let peer = &authority.peer;
    for error in [
        peer.ensure(Ensure::new(client_id("x"), secret("y"))).await.unwrap_err(),
        peer.rotate(Rotate::new(client_id("orders"), secret("y"))).await.unwrap_err(),
        peer.revoke(Revoke::new(client_id("orders"))).await.unwrap_err(),
        peer.sync().await.unwrap_err(),
        peer.ready().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
    let status = peer.status().await;
    assert!(!status.is_ready());
    assert_eq!((status.publisher, status.consumer), (LinkState::Closed, LinkState::Closed));
    assert_eq!(mesh.queues.consumers("hmac-authority.queue").await.unwrap(), Some(0));
    assert!(store.hash("orders").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_ends_by_its_deadline_and_what_had_to_wait_is_done_after_the_next_start() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let recorder = Recorder::default();
    mesh.queues.declare("hmac-source.queue").await.unwrap();
    let peer = || {
        let builder = mesh.peer("b", &store).observer(recorder.clone());
        builder.close_deadline(Duration::from_millis(300))
    };
    let b = ready(peer()).await;
    store.redis.set_read_only(true).await.unwrap();
    mesh.send("b", &apply("source", "b", "orders", now_ms(), &hash_of(1))).await;
    eventually(SOON, || async { (recorder.retries() > 0).then_some(()) }).await;
    let began = Instant::now();
    b.close().await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    mesh.filled("b", 1).await;
    assert_eq!(mesh.queues.count("hmac-source.queue").await.unwrap(), Some(0));
    store.redis.set_read_only(false).await.unwrap();
    let _again = ready(peer()).await;
    assert_eq!(mesh.take("source").await["ackResult"], "applied");
    assert_eq!(store.hash("orders").await, Some(hash_of(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_calls_future_does_not_stop_its_work() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let memory = directory_of(&["b"]);
    let (entered, permits) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (signal, gate) = (entered.clone(), permits.clone());
    let script = Script::default().before(move |call| {
        let (signal, gate) = (signal.clone(), gate.clone());
        async move {
            if matches!(call, Call::Upsert(_)) {
                signal.add_permits(1);
                gate.acquire().await.unwrap().forget();
            }
            Ok(())
        }
    });
    let management = Between::new(&memory, script);
    let authority =
        mesh.full_with("authority", &store, memory, |builder| builder.management(management)).await;
    let request = Ensure::new(client_id("orders"), secret("x")).targets([queue("b")]);
    tokio::select! {
        biased;
        ensured = authority.peer.ensure(request) => panic!("it cannot have ended: {ensured:?}"),
        permit = entered.acquire() => permit.unwrap().forget(),
    }
    permits.add_permits(1);
    eventually(SOON, || async { store.hash("orders").await }).await;
    assert_eq!(authority.status("orders", "b"), RowStatus::Pending);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_background_sync_delivers_without_being_asked_until_the_peer_is_closed() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let _b = RawTarget::instant(&mesh, "b").await;
    let authority = mesh
        .full_with("authority", &store, directory_of(&["b"]), |builder| {
            builder.sync_every(Duration::from_millis(20))
        })
        .await;
    let mut events = authority.peer.events();
    for secret in ["first", "second"] {
        authority.ensure("orders", &["b"]).await;
        authority.rotate("orders", secret).await;
        assert_eq!(complete(&mut events, "orders").await, Outcome::Success);
    }
    let began = Instant::now();
    authority.peer.close().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
