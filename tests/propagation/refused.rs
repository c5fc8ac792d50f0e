//! What is refused is out of the way within a second, and kept: as a record at the peer, and whole
//! where a policy of the broker says so.

use std::time::Duration;

use hmac_propagator::event::{Event, Refusal};
use hmac_propagator::propagator::Propagator;
use hmac_propagator::refused::{RefusedMessage, RefusedMessages};
use hmac_propagator_support::eventually;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::help::{RawPublisher, RawTarget, Recorder, ack, apply, fresh_id, hash_of, now_ms};
use crate::mesh::{
    Mesh, SOON, Store, directory_of, propagation_secret_text, queue, queue_name, ready, seen,
};

const DEAD: &str = "dead-letters";
const SECOND: Duration = Duration::from_secs(1);

/// Sends what a peer rejects to a queue for operators, as `docs/operations.md` has it.
async fn keep_dead_letters(mesh: &Mesh) {
    mesh.queues.declare(DEAD).await.unwrap();
    let policy = json!({"dead-letter-exchange": "", "dead-letter-routing-key": DEAD});
    mesh.vhost.set_policy("^hmac-.*[.]queue$", &policy.to_string()).await.unwrap();
}

/// The next dead letter, which must come within a second.
async fn dead_letter(mesh: &Mesh) -> Vec<u8> {
    eventually(SECOND, || async { mesh.queues.get(DEAD).await.unwrap() }).await.body
}

async fn kept(peer: &Propagator) -> Vec<RefusedMessage> {
    peer.refused_messages(100).await.unwrap()
}

/// Waits until so many records are there.
async fn records(peer: &Propagator, count: usize) -> Vec<RefusedMessage> {
    eventually(SOON, || async {
        let found = kept(peer).await;
        (found.len() == count).then_some(found)
    })
    .await
}

fn event(client: &str) -> Value {
    apply("source", "b", client, now_ms(), &hash_of(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_message_is_dead_lettered_whole_within_a_second_and_the_next_one_goes_on() {
    let (mesh, store) = (Mesh::new().await, Store::start().await);
    let peer = ready(mesh.peer("b", &store)).await;
    mesh.queues.declare("hmac-source.queue").await.unwrap();
    keep_dead_letters(&mesh).await;
    let mut wrong = event("orders");
    wrong["propagationSecret"] = "the secret of last year".into();
    let long = vec![b' '; 2 << 20];
    for poison in [b"{\"clientId\": \xff".as_slice(), wrong.to_string().as_bytes(), &long] {
        let begun = Instant::now();
        mesh.queues.publish("hmac-b.queue", poison).await.unwrap();
        let good = event("orders");
        mesh.send("b", &good).await;
        assert!(dead_letter(&mesh).await == poison, "another message, or a part of it");
        let answer = timeout(SECOND, mesh.take("source")).await.expect("an answer in time");
        assert_eq!(
            (&answer["ackEventId"], &answer["ackResult"]),
            (&good["eventId"], &json!("applied"))
        );
        assert!(begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
    }
    let found: Vec<_> = kept(&peer).await.iter().map(|kept| (kept.reason, kept.bytes)).collect();
    let sizes = [long.len() as u64, wrong.to_string().len() as u64, 14];
    let reasons = [Refusal::Malformed, Refusal::WrongSecret, Refusal::Malformed];
    assert_eq!(found, reasons.into_iter().zip(sizes).collect::<Vec<_>>());
    // Each went there once, and nothing is left behind.
    peer.close().await;
    assert_eq!(mesh.queues.count(DEAD).await.unwrap(), Some(0));
    assert_eq!(mesh.queues.count("hmac-b.queue").await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_with_an_error_is_recorded_and_not_dead_lettered() {
    let (mesh, store) = (Mesh::new().await, Store::start().await);
    let peer = ready(mesh.peer("b", &store)).await;
    mesh.queues.declare("hmac-source.queue").await.unwrap();
    keep_dead_letters(&mesh).await;
    let mut invalid = event("orders");
    invalid["payload"]["allowedIps"] = json!(["10.0.0.0/99"]);
    mesh.send("b", &invalid).await;
    assert_eq!(mesh.take("source").await["ackResult"], "error");
    // The record is there before the answer.
    let found = kept(&peer).await;
    assert_eq!((found.len(), found[0].reason), (1, Refusal::Invalid));
    assert!(found[0].detail.starts_with("payload.allowedIps"), "{found:?}");
    assert_eq!(found[0].sender, Some(queue("source")));
    peer.close().await;
    assert_eq!(mesh.queues.count("hmac-b.queue").await.unwrap(), Some(0));
    assert_eq!(mesh.queues.count(DEAD).await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_names_what_was_refused_and_has_no_secret_in_it() {
    let (mesh, store) = (Mesh::new().await, Store::start().await);
    let peer = ready(mesh.peer("b", &store)).await;
    let own = propagation_secret_text("b");
    let foreign = "a-secret-of-another-peer";
    let mut wrong = event("orders");
    wrong["propagationSecret"] = foreign.into();
    wrong["note"] = foreign.into();
    let mut everywhere = event(&own);
    for field in ["propagationSecret", "op"] {
        everywhere.as_object_mut().unwrap().remove(field);
    }
    everywhere[&own] = own.as_str().into();
    everywhere["eventId"] = own.as_str().into();
    everywhere["payload"][&own] = json!([own, {"deep": own}]);
    let mut swapped = event(foreign);
    swapped["propagationSecret"] = foreign.into();
    swapped["senderAmqpQueue"] = foreign.into();
    let bodies = [wrong.to_string(), everywhere.to_string(), swapped.to_string(), own.clone()];
    for (count, body) in bodies.iter().enumerate() {
        mesh.queues.publish("hmac-b.queue", body.as_bytes()).await.unwrap();
        records(&peer, count + 1).await;
    }
    let found = kept(&peer).await;
    let text = format!("{found:?}");
    for secret in [own.as_str(), foreign, &hash_of(1)] {
        assert!(!text.contains(secret), "{text}");
    }
    let message: Value = serde_json::from_str(found[3].message.as_deref().unwrap()).unwrap();
    let redacted = |length: usize| json!({"redacted": format!("string of {length} characters")});
    assert_eq!(message["clientId"], "orders");
    assert_eq!(message["eventId"], wrong["eventId"]);
    assert_eq!(message["propagationSecret"], redacted(foreign.len()));
    assert_eq!(message["payload"]["secretHash"], redacted(64));
    assert_eq!(message["unknownFields"], json!(["note"]));
    let message: Value = serde_json::from_str(found[2].message.as_deref().unwrap()).unwrap();
    assert_eq!(message["clientId"], redacted(own.len()));
    assert_eq!(found[1].sender, None);
    assert_eq!((found[0].message.as_deref(), found[0].bytes), (None, own.len() as u64));
    // Nor has the Redis that they stand in.
    let keys: Vec<String> = store.redis.command(&["KEYS", "propagation:refused:*"]).await.unwrap();
    assert_eq!(keys.len(), bodies.len() + 1);
    for key in keys {
        let value: String = store.redis.command(&["GET", &key]).await.unwrap();
        assert!(!value.contains(&own) && !value.contains(foreign), "{key}: {value}");
        let lives: i64 = store.redis.command(&["TTL", &key]).await.unwrap();
        assert!(lives > 29 * 24 * 60 * 60, "{key}: {lives}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_refused_are_dead_lettered_and_recorded_for_all_replicas() {
    let (mesh, store) = (Mesh::new().await, Store::start().await);
    let authority = mesh.full("authority", &store, &["b", "c"]).await;
    let b = RawTarget::silent(&mesh, "b").await;
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    let to_b = b.nth(0).await;
    keep_dead_letters(&mesh).await;
    let mut unknown = ack(&to_b, "b");
    unknown["ackEventId"] = fresh_id().into();
    let mut unsigned = ack(&to_b, "b");
    unsigned["propagationSecret"] = "".into();
    let forged = [
        (ack(&to_b, "c"), Refusal::ForeignAck),
        (unknown, Refusal::UnknownAck),
        (unsigned, Refusal::Unsigned),
    ];
    for (forgery, reason) in &forged {
        mesh.send("authority", forgery).await;
        assert_eq!(dead_letter(&mesh).await, forgery.to_string().as_bytes());
        assert_eq!(kept(&authority.peer).await[0].reason, *reason);
    }
    let replica = mesh.full_with("authority", &store, directory_of(&["b"]), |b| b).await;
    assert_eq!(kept(&replica.peer).await, kept(&authority.peer).await);
    let reader = RefusedMessages::new(store.state.clone());
    assert_eq!(reader.newest(1).await.unwrap(), kept(&replica.peer).await[..1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_message_is_out_of_the_way_within_a_second_while_redis_hangs_and_when_it_is_away()
{
    let (mesh, store, recorder) = (Mesh::new().await, Store::start().await, Recorder::default());
    let peer = ready(mesh.peer("b", &store).observer(recorder.clone())).await;
    let mut events = peer.events();
    keep_dead_letters(&mesh).await;
    store.redis.pause().await.unwrap();
    mesh.queues.publish("hmac-b.queue", b"hangs").await.unwrap();
    assert_eq!(dead_letter(&mesh).await, b"hangs");
    let lost = |event: &Event| match event {
        Event::RefusedNotKept { count } => Some(*count),
        _ => None,
    };
    assert_eq!(seen(&mut events, lost).await, 1);
    store.redis.resume().await.unwrap();
    store.redis.kill().await.unwrap();
    mesh.queues.publish("hmac-b.queue", b"away").await.unwrap();
    assert_eq!(dead_letter(&mesh).await, b"away");
    assert_eq!(seen(&mut events, lost).await, 1);
    store.redis.restart().await.unwrap();
    eventually(SOON, || async { peer.status().await.is_ready().then_some(()) }).await;
    mesh.queues.publish("hmac-b.queue", b"back").await.unwrap();
    assert_eq!(dead_letter(&mesh).await, b"back");
    assert_eq!(records(&peer, 1).await[0].bytes, 4);
    assert_eq!(recorder.refusals().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_poison_delays_no_good_message_and_fills_no_store() {
    const FLOOD: usize = 3000;
    let (mesh, store, recorder) = (Mesh::new().await, Store::start().await, Recorder::default());
    let peer = ready(mesh.peer("b", &store).observer(recorder.clone())).await;
    mesh.queues.declare("hmac-source.queue").await.unwrap();
    let poison: Vec<Value> = (0..FLOOD).map(|number| json!({ "number": number })).collect();
    RawPublisher::connect(&mesh).await.send_all("b", &poison).await;
    let good = event("orders");
    mesh.send("b", &good).await;
    assert_eq!(mesh.take("source").await["ackEventId"], good["eventId"]);
    eventually(SOON, || async { (recorder.refusals().len() == FLOOD).then_some(()) }).await;
    assert_eq!(mesh.queues.count(&queue_name("b")).await.unwrap(), Some(0));
    peer.close().await;
    let found = RefusedMessages::new(store.state.clone()).newest(usize::MAX).await.unwrap();
    assert!(!found.is_empty() && found.len() <= RefusedMessages::KEPT, "{}", found.len());
    let lost = |event: &Event| match event {
        Event::RefusedNotKept { count } => *count,
        _ => 0,
    };
    let lost: u64 = recorder.events().iter().map(lost).sum();
    // Two that were refused in the same millisecond, or side by side, may be numbered the other way round.
    let kept = found.iter().map(|record| record.number).max().unwrap_or(0);
    assert_eq!(kept + lost, FLOOD as u64, "each is kept or counted");
    let keys: Vec<String> = store.redis.command(&["KEYS", "propagation:refused:*"]).await.unwrap();
    assert!(keys.len() <= RefusedMessages::KEPT + 1, "{}", keys.len());
}
