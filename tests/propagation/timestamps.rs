//! A source's `ts` never regresses, and no received `ts` can freeze a credential.

use hmac_propagator::event::{Event, Refusal};
use hmac_propagator::management::{Outcome, RowStatus};
use serde_json::{Value, json};

use crate::help::{RawTarget, Recorder, StepClock, apply, hash_of, now_ms};
use crate::mesh::{Full, Mesh, Store, complete, directory_of, seen};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotate_after_the_clock_stepped_back_is_applied_everywhere() {
    let mesh = Mesh::new().await;
    let (at, b, c) = (Store::start().await, Store::start().await, Store::start().await);
    let clock = StepClock::default();
    let directory = directory_of(&["b", "c"]);
    let authority =
        mesh.full_with("authority", &at, directory, |builder| builder.clock(clock.clone())).await;
    let _b = mesh.target("b", &b, "authority").await;
    let _c = mesh.target("c", &c, "authority").await;
    let mut events = authority.peer.events();
    authority.ensure("orders", &["b", "c"]).await;
    authority.sync().await;
    complete(&mut events, "orders").await;
    let first = at.hash("orders").await;

    clock.step(-StepClock::HOUR);
    authority.rotate("orders", "second").await;
    authority.sync().await;
    assert_eq!(complete(&mut events, "orders").await, Outcome::Success);
    let second = at.hash("orders").await;
    assert_ne!(first, second);
    assert_eq!(b.hash("orders").await, second);
    assert_eq!(c.hash("orders").await, second);
}

fn rising(seen: &[Value]) {
    let ts: Vec<f64> = seen.iter().map(|event| event["ts"].as_f64().unwrap()).collect();
    assert!(ts.windows(2).all(|pair| pair[0] < pair[1]), "{ts:?}");
}

/// Rotates, syncs, and waits for the event.
async fn one_more(authority: &Full, target: &RawTarget, number: usize) {
    authority.rotate("orders", &format!("secret {number}")).await;
    authority.sync().await;
    target.nth(number).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ts_rises_across_restarts_and_replicas_with_different_clocks() {
    let mesh = Mesh::new().await;
    let at = Store::start().await;
    let directory = directory_of(&["b"]);
    let b = RawTarget::instant(&mesh, "b").await;
    let behind = StepClock::default();
    behind.step(-StepClock::HOUR);
    let start = |clock: StepClock| {
        mesh.full_with("authority", &at, directory.clone(), |builder| builder.clock(clock))
    };
    let first = start(StepClock::default()).await;
    first.ensure("orders", &["b"]).await;
    first.sync().await;
    b.nth(0).await;
    first.peer.close().await;

    let again = start(behind.clone()).await;
    one_more(&again, &b, 1).await;
    let replica = start(StepClock::default()).await;
    for number in 2..8 {
        one_more(if number % 2 == 0 { &replica } else { &again }, &b, number).await;
    }
    rising(&b.seen());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ts_rises_past_the_managements_revision_when_redis_was_wiped_and_the_clock_stepped_back() {
    let mesh = Mesh::new().await;
    let at = Store::start().await;
    let clock = StepClock::default();
    let directory = directory_of(&["b"]);
    let authority =
        mesh.full_with("authority", &at, directory, |builder| builder.clock(clock.clone())).await;
    let b = RawTarget::instant(&mesh, "b").await;
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    b.nth(0).await;

    at.redis.flush_all().await.unwrap();
    clock.step(-StepClock::HOUR);
    one_more(&authority, &b, 1).await;
    at.redis.flush_all().await.unwrap();
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    b.nth(2).await;
    rising(&b.seen());
    authority.becomes("orders", "b", RowStatus::Success).await;
    assert_eq!(at.hash("orders").await.as_deref(), b.seen()[2]["payload"]["secretHash"].as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_from_the_future_is_refused_and_freezes_nothing() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let recorder = Recorder::default();
    let builder = mesh.peer("b", &store).observer(recorder.clone());
    let _b = crate::mesh::ready(builder).await;
    mesh.queues.declare("hmac-source.queue").await.unwrap();
    let year = now_ms() + 365 * 24 * 3_600_000;
    let beyond = now_ms() + 5 * 60_000 + 20_000;
    let futures = [json!(beyond), json!(year), json!(9_007_199_254_740_992_u64), json!(1e308)];
    for (number, ts) in futures.into_iter().enumerate() {
        let event = apply("source", "b", "orders", ts.clone(), &hash_of(number as u64));
        mesh.send("b", &event).await;
        let answer = mesh.take("source").await;
        assert_eq!(answer["ackEventId"], event["eventId"]);
        assert_eq!(answer["ackResult"], "error", "{ts}");
        assert!(answer["ackReason"].as_str().unwrap().starts_with("ts: expected"), "{answer}");
        assert_eq!(store.hash("orders").await, None);
        assert_eq!(store.cursor_ts("orders").await, None);
    }
    assert_eq!(recorder.refusals(), [Refusal::Invalid; 4]);

    // Within the bound it is applied, and so is what follows.
    for (ts, hash) in [(now_ms() + 1000, hash_of(7)), (now_ms() + 4 * 60_000, hash_of(8))] {
        mesh.send("b", &apply("source", "b", "orders", ts, &hash)).await;
        assert_eq!(mesh.take("source").await["ackResult"], "applied");
        assert_eq!(store.hash("orders").await, Some(hash));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sources_next_ts_exceeds_every_ts_that_it_has_seen() {
    let mesh = Mesh::new().await;
    let at = Store::start().await;
    let authority = mesh.full("authority", &at, &["b"]).await;
    let b = RawTarget::instant(&mesh, "b").await;
    let mut events = authority.peer.events();
    authority.ensure("orders", &["b"]).await;
    let ahead = now_ms() + 4 * 60_000;
    mesh.send("authority", &apply("other", "authority", "orders", ahead, &hash_of(1))).await;
    seen(&mut events, |event| matches!(event, Event::CredentialApplied { .. }).then_some(())).await;
    authority.rotate("orders", "second").await;
    authority.sync().await;
    assert!(b.nth(0).await["ts"].as_u64().unwrap() > ahead);
    assert_eq!(at.hash("orders").await.as_deref(), b.seen()[0]["payload"]["secretHash"].as_str());
}
