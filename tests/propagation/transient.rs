//! What fails for now is kept and tried again, calmly; what fails for good is said and done with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hmac_propagator::event::{Event, Refusal};
use hmac_propagator::id::Track;
use hmac_propagator::management::{ManagementError, Outcome, Proof, RowStatus};
use hmac_propagator::propagator::{Builder, Ensure, Propagator};
use hmac_propagator::state::{RedisOptions, RedisState};
use hmac_propagator_support::{Mode, Proxy, Redis, eventually};

use crate::help::{Between, Call, RawTarget, Recorder, Script, StepClock, apply, hash_of, now_ms};
use crate::mesh::{
    Full, Mesh, SOON, Store, client_id, directory_of, propagation_secret, queue, ready, secret,
};

const FIRST: Duration = Duration::from_millis(20);
const MOST: Duration = Duration::from_millis(200);

fn patient(builder: Builder, recorder: &Recorder) -> Builder {
    builder.retry(FIRST, MOST).observer(recorder.clone())
}

/// A target that answers with signatures, its retries recorded.
async fn target(mesh: &Mesh, store: &Store) -> (Propagator, Recorder) {
    let recorder = Recorder::default();
    let builder = patient(mesh.peer("b", store), &recorder);
    let source = (queue("authority"), propagation_secret("authority"));
    (ready(builder.source_secret(source.0, source.1)).await, recorder)
}

/// Sends a credential while the target's Redis has a fault, and waits for `tries` tries.
async fn kept_while_it_lasts(authority: &Full, recorder: &Recorder, tries: usize) {
    let began = std::time::Instant::now();
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    eventually(SOON, || async { (recorder.retries() >= tries).then_some(()) }).await;
    // Tries are half a wait apart at least, and waits grow from 20 to 200 ms. Two loops may see the
    // fault: the one that applies and the one that answers.
    let elapsed = began.elapsed().as_millis();
    let most = 2 * (5 + usize::try_from(elapsed / 100).unwrap());
    assert!(recorder.retries() <= most, "{} tries in {elapsed} ms", recorder.retries());
    assert_eq!(authority.status("orders", "b"), RowStatus::Sent);
}

async fn applied_afterwards(authority: &Full, at: &Store, b: &Store) {
    assert_eq!(authority.reports("orders").await, Outcome::Success);
    assert_eq!(b.hash("orders").await, at.hash("orders").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_kept_while_the_targets_redis_is_down() {
    let mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let authority = mesh.full("authority", &at, &["b"]).await;
    let (_b, recorder) = target(&mesh, &b).await;
    b.redis.kill().await.unwrap();
    kept_while_it_lasts(&authority, &recorder, 4).await;
    b.redis.restart().await.unwrap();
    applied_afterwards(&authority, &at, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_kept_while_the_targets_redis_refuses_writes() {
    let mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let authority = mesh.full("authority", &at, &["b"]).await;
    let (_b, recorder) = target(&mesh, &b).await;
    b.redis.set_read_only(true).await.unwrap();
    kept_while_it_lasts(&authority, &recorder, 8).await;
    assert_eq!(b.hash("orders").await, None);
    b.redis.set_read_only(false).await.unwrap();
    applied_afterwards(&authority, &at, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_kept_while_the_targets_redis_is_out_of_memory() {
    let mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let authority = mesh.full("authority", &at, &["b"]).await;
    let (_b, recorder) = target(&mesh, &b).await;
    b.redis.set_out_of_memory(true).await.unwrap();
    kept_while_it_lasts(&authority, &recorder, 8).await;
    assert_eq!(b.hash("orders").await, None);
    b.redis.set_out_of_memory(false).await.unwrap();
    applied_afterwards(&authority, &at, &b).await;
}

/// A store behind a proxy, with little patience.
async fn proxied() -> (Store, Proxy) {
    let redis = Redis::start().await.unwrap();
    let proxy = Proxy::start(redis.address()).await.unwrap();
    let mut options = RedisOptions::default();
    options.response_timeout = Duration::from_millis(150);
    options.connect_timeout = Duration::from_millis(150);
    let state = RedisState::open_with(&redis.url_via(proxy.address()), options).unwrap();
    (Store::with(redis, state), proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_kept_while_the_targets_redis_is_too_slow() {
    let mesh = Mesh::new().await;
    let at = Store::start().await;
    let authority = mesh.full("authority", &at, &["b"]).await;
    let (b, proxy) = proxied().await;
    let (_b, recorder) = target(&mesh, &b).await;
    proxy.set_mode(Mode::Delay(Duration::from_millis(400)));
    kept_while_it_lasts(&authority, &recorder, 3).await;
    proxy.set_mode(Mode::Pass);
    applied_afterwards(&authority, &at, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_track_goes_on_while_one_tracks_redis_is_down() {
    let mesh = Mesh::new().await;
    let (at, http, message) = (Store::start().await, Store::start().await, Store::start().await);
    let authority = mesh.full("authority", &at, &["b"]).await;
    let recorder = Recorder::default();
    let source = (queue("authority"), propagation_secret("authority"));
    let builder = patient(mesh.peer("b", &message), &recorder).credential_store(http.http.clone());
    let _b = ready(builder.source_secret(source.0, source.1)).await;
    http.redis.kill().await.unwrap();
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    eventually(SOON, || async { (recorder.retries() >= 2).then_some(()) }).await;
    let mut events = authority.peer.events();
    for number in 0..20 {
        let request = Ensure::new(client_id(&format!("m{number}")), secret("x"));
        let request = request.track(Track::Message).targets([queue("b")]);
        authority.peer.ensure(request).await.unwrap();
    }
    authority.sync().await;
    for _ in 0..20 {
        crate::mesh::seen(&mut events, |event| match event {
            Event::FullyPropagated { key, .. } => (key.track == Track::Message).then_some(()),
            _ => None,
        })
        .await;
    }
    assert_eq!(authority.status("orders", "b"), RowStatus::Sent);
    http.redis.restart().await.unwrap();
    assert_eq!(authority.reports("orders").await, Outcome::Success);
    assert_eq!(http.hash("orders").await, at.hash("orders").await);
}

/// An authority whose database can be taken away.
async fn with_database(
    mesh: &Mesh,
    store: &Store,
    retry: Duration,
) -> (Full, Arc<AtomicBool>, StepClock, Recorder) {
    let (memory, away) = (directory_of(&["b"]), Arc::new(AtomicBool::new(false)));
    let (clock, recorder, is_away) = (StepClock::default(), Recorder::default(), away.clone());
    let script = Script::default().fails(move |call| {
        let writes = matches!(call, Call::Success(_) | Call::Error(_) | Call::Report(_));
        (writes && is_away.load(Ordering::SeqCst)).then(|| ManagementError::transient("away"))
    });
    let management = Between::new(&memory, script);
    let authority = mesh
        .full_with("authority", store, memory, |builder| {
            patient(builder, &recorder)
                .retry(retry, 2 * retry)
                .management(management)
                .clock(clock.clone())
        })
        .await;
    (authority, away, clock, recorder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_is_not_lost_while_the_database_is_down() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let retry = Duration::from_millis(200);
    let (authority, away, _, recorder) = with_database(&mesh, &store, retry).await;
    let b = RawTarget::instant(&mesh, "b").await;
    away.store(true, Ordering::SeqCst);
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    eventually(SOON, || async { (recorder.retries() >= 2).then_some(()) }).await;
    assert_ne!(authority.status("orders", "b"), RowStatus::Success);
    // It comes back before the patience of seven tries is over: no sync is needed.
    away.store(false, Ordering::SeqCst);
    assert_eq!(authority.reports("orders").await, Outcome::Success);
    assert_eq!(b.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_is_not_lost_while_the_sources_redis_is_down() {
    let mesh = Mesh::new().await;
    let options = hmac_propagator_support::RedisOptions { persistent: true, ..Default::default() };
    let store = Store::on(Redis::start_with(options).await.unwrap());
    let recorder = Recorder::default();
    let directory = directory_of(&["b"]);
    let authority =
        mesh.full_with("authority", &store, directory, |builder| patient(builder, &recorder)).await;
    let b = RawTarget::silent(&mesh, "b").await;
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    let event = b.nth(0).await;
    // The file holds what was written once it is written anew.
    let () = store.redis.command(&["CONFIG", "SET", "appendfsync", "always"]).await.unwrap();
    let () = store.redis.command(&["SET", "flushed", "1"]).await.unwrap();
    store.redis.kill().await.unwrap();
    mesh.send("authority", &crate::help::ack(&event, "b")).await;
    eventually(SOON, || async { (recorder.retries() >= 2).then_some(()) }).await;
    assert_eq!(authority.status("orders", "b"), RowStatus::Sent);
    assert!(!authority.peer.status().await.is_ready());
    store.redis.restart().await.unwrap();
    assert_eq!(authority.reports("orders").await, Outcome::Success);
    assert!(authority.peer.status().await.is_ready());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_outlasts_a_database_that_stays_away_and_is_settled_by_the_next_sync() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let retry = Duration::from_millis(5);
    let (authority, away, clock, recorder) = with_database(&mesh, &store, retry).await;
    let b = RawTarget::instant(&mesh, "b").await;
    away.store(true, Ordering::SeqCst);
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    // Its patience ends after seven tries; then the books have the answer and the queue is free.
    eventually(SOON, || async { (recorder.retries() >= 7).then_some(()) }).await;
    mesh.drained("authority").await;
    let in_books = || async {
        let keys: Vec<String> =
            store.redis.command(&["KEYS", "propagation:in-flight:*"]).await.unwrap();
        let record: String = store.redis.command(&["GET", &keys[0]]).await.unwrap();
        record.contains("applied").then_some(())
    };
    eventually(SOON, in_books).await;
    assert_ne!(authority.status("orders", "b"), RowStatus::Success);

    away.store(false, Ordering::SeqCst);
    clock.step(31_000);
    let summary = authority.sync().await;
    assert_eq!((summary.propagations_read, summary.targets_published), (1, 0));
    assert_eq!(authority.reports("orders").await, Outcome::Success);
    assert_eq!(authority.row("orders", "b").proof, Some(Proof::Signed));
    assert_eq!(b.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_for_good_is_answered_with_a_reason_and_gets_out_of_the_way() {
    let mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let authority = mesh.full("authority", &at, &["b"]).await;
    // A peer without a store for the track, and one whose key has another type.
    let recorder = Recorder::default();
    let builder =
        Propagator::builder(mesh.options(), queue("b"), propagation_secret("b"), b.state.clone());
    let source = (queue("authority"), propagation_secret("authority"));
    let builder = patient(builder.credential_store(b.http.clone()), &recorder);
    let _b = ready(builder.source_secret(source.0, source.1)).await;
    let () = b.redis.command(&["SET", "hmac:http:clients", "not a hash"]).await.unwrap();

    authority.ensure("orders", &["b"]).await;
    let request = Ensure::new(client_id("orders"), secret("x")).track(Track::Message);
    authority.peer.ensure(request.targets([queue("b")])).await.unwrap();
    authority.sync().await;
    assert_eq!(authority.reports("orders").await, Outcome::Error);
    let http = authority.row("orders", "b");
    assert_eq!(http.status, RowStatus::Error);
    assert!(http.reason.unwrap().starts_with("store: "));
    eventually(SOON, || async {
        (authority.row_on(Track::Message, "orders", "b").status == RowStatus::Error).then_some(())
    })
    .await;
    let message = authority.row_on(Track::Message, "orders", "b");
    assert_eq!(message.reason.as_deref(), Some("track: this peer has no store for `message`"));
    mesh.drained("b").await;
    assert_eq!(recorder.retries(), 0);
    let mut refusals = recorder.refusals();
    refusals.sort_by_key(|refusal| refusal.as_str());
    assert_eq!(refusals, [Refusal::Invalid, Refusal::Store]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_one_credential_keep_their_order_through_an_outage() {
    let mesh = Mesh::new().await;
    let b = Store::start().await;
    let (_b, recorder) = target(&mesh, &b).await;
    mesh.queues.declare("hmac-source.queue").await.unwrap();
    b.redis.set_read_only(true).await.unwrap();
    let base = now_ms() - 1000;
    for number in 0..5 {
        mesh.send("b", &apply("source", "b", "orders", base + number, &hash_of(number))).await;
    }
    eventually(SOON, || async { (recorder.retries() >= 3).then_some(()) }).await;
    assert_eq!(mesh.queues.count("hmac-source.queue").await.unwrap(), Some(0));
    b.redis.set_read_only(false).await.unwrap();
    mesh.filled("source", 5).await;
    assert_eq!(b.hash("orders").await, Some(hash_of(4)));
    // In their order: each of them changed something.
    let changed = |event: &Event| matches!(event, Event::CredentialApplied { .. });
    assert_eq!(recorder.count(changed), 5);
}
