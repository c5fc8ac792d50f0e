//! Stores that were lost: noticed, and filled again without another decision.

use std::time::Duration;

use hmac_propagator::event::{Event, EventStream};
use hmac_propagator::id::Track;
use hmac_propagator::management::RowStatus;
use hmac_propagator::propagator::{Builder, Ensure, Propagator, Revoke};
use hmac_propagator_support::{Redis, RedisOptions, eventually};
use serde_json::{Value, json};

use crate::help::{StepClock, ack, apply, fresh_id, hash_of, now_ms};
use crate::mesh::{
    Full, Mesh, SOON, Store, client_id, directory_of, is_announcement, propagation_secret_text,
    queue, queue_name, ready, secret, seen,
};

/// An authority `a` and a target, with `clients` settled at it.
struct Settled {
    mesh: Mesh,
    store: Store,
    target: Store,
    authority: Full,
    peer: Propagator,
    events: EventStream,
}

const CLIENTS: [&str; 3] = ["one", "two", "gone"];

impl Settled {
    /// With a target that signs its answers.
    async fn new(redis: Redis) -> Self {
        let mesh = Mesh::new().await;
        let (store, target) = (Store::start().await, Store::on(redis));
        let authority =
            mesh.full_with("a", &store, directory_of(&["b"]), patient_for_a_second).await;
        let peer = mesh.target("b", &target, "a").await;
        let events = authority.peer.events();
        let settled = Self { mesh, store, target, authority, peer, events };
        settled.settle_all().await;
        settled
    }

    /// The last of the clients is removed again.
    async fn settle_all(&self) {
        for client in CLIENTS {
            self.authority.ensure(client, &["b"]).await;
        }
        self.authority.peer.revoke(Revoke::new(client_id("gone"))).await.unwrap();
        self.authority.sync().await;
        self.all_settle().await;
    }

    async fn all_settle(&self) {
        for client in CLIENTS {
            self.authority.becomes(client, "b", RowStatus::Success).await;
        }
    }

    /// The authority hears that the target has another store.
    async fn told(&mut self) {
        seen(&mut self.events, |event| match event {
            Event::TargetStoreReplaced { target, track: Track::Http } if *target == queue("b") => {
                Some(())
            }
            _ => None,
        })
        .await;
    }

    /// The target holds just what was decided, and the rows say so.
    async fn whole_again(&self) {
        self.authority.sync().await;
        self.all_settle().await;
        for client in CLIENTS {
            assert_eq!(self.target.hash(client).await, self.store.hash(client).await, "{client}");
            assert_eq!(self.target.cursor_ts(client).await, self.store.cursor_ts(client).await);
        }
        assert!(
            self.target.hash("one").await.is_some() && self.target.hash("gone").await.is_none()
        );
    }
}

/// An answer that proves nothing is waited for anew.
fn patient_for_a_second(builder: Builder) -> Builder {
    builder.answer_timeout(Duration::from_secs(1), Duration::from_secs(5))
}

#[tokio::test]
async fn a_target_whose_redis_was_wiped_is_filled_again() {
    let mut settled = Settled::new(Redis::start().await.unwrap()).await;
    let before = settled.authority.row("one", "b");
    settled.target.redis.flush_all().await.unwrap();
    settled.told().await;
    // One sync does it, under the ids that the rows had.
    settled.whole_again().await;
    let after = settled.authority.row("one", "b");
    assert_eq!(after.event_id, before.event_id);
    assert_ne!(after.store, before.store);
    assert!(settled.authority.reported("one").is_some());
    // Nothing is left to do.
    assert_eq!(settled.authority.sync().await.targets_published, 0);
}

#[tokio::test]
async fn a_target_whose_redis_lost_its_last_writes_is_filled_again() {
    let options = RedisOptions { persistent: true, ..RedisOptions::default() };
    let mut settled = Settled::new(Redis::start_with(options).await.unwrap()).await;
    let redis = &settled.target.redis;
    let kept: String = redis.command(&["HGET", "hmac:http:clients", "one"]).await.unwrap();
    let point = redis.save_point().unwrap();
    settled.authority.rotate("one", "the secret that is lost").await;
    settled.authority.sync().await;
    settled.all_settle().await;
    redis.kill_and_lose(&point).await.unwrap();
    redis.restart().await.unwrap();
    let restored: String = redis.command(&["HGET", "hmac:http:clients", "one"]).await.unwrap();
    assert_eq!(restored, kept, "the rotation is lost");
    settled.told().await;
    settled.whole_again().await;
}

#[tokio::test]
async fn a_target_that_was_wiped_while_it_was_down_is_filled_again_and_a_replay_changes_nothing() {
    let mut settled = Settled::new(Redis::start().await.unwrap()).await;
    let old = settled.target.cursor_ts("one").await.unwrap();
    settled.peer.close().await;
    settled.target.redis.flush_all().await.unwrap();
    // Somebody plays an old event again, before anybody knows of the loss.
    let mut replay = apply("a", "b", "one", old - 1000.0, &hash_of(7));
    replay["propagationSecret"] = propagation_secret_text("b").into();
    settled.mesh.send("b", &replay).await;
    let _peer = settled.mesh.target("b", &settled.target, "a").await;
    settled.told().await;
    settled.whole_again().await;
}

#[tokio::test]
async fn a_target_that_is_wiped_during_a_rotation_ends_with_the_newer_secret() {
    let mut settled = Settled::new(Redis::start().await.unwrap()).await;
    settled.peer.close().await;
    settled.authority.rotate("one", "second").await;
    settled.authority.sync().await;
    settled.mesh.filled("b", 1).await;
    settled.target.redis.flush_all().await.unwrap();
    let _peer = settled.mesh.target("b", &settled.target, "a").await;
    settled.authority.rotate("two", "third").await;
    settled.told().await;
    settled.whole_again().await;
}

#[tokio::test]
async fn a_receive_only_target_tells_its_named_source_without_a_signature() {
    let mesh = Mesh::new().await;
    let (store, target) = (Store::start().await, Store::start().await);
    let authority = mesh.full("a", &store, &[]).await;
    let secret = crate::mesh::propagation_secret("b");
    authority.management.add_receive_only_target(queue("b"), secret);
    let peer = || async { ready(mesh.peer("b", &target).source(queue("a"))).await };
    let first = peer().await;
    authority.ensure("one", &["b"]).await;
    authority.sync().await;
    authority.becomes("one", "b", RowStatus::Success).await;
    first.close().await;
    target.redis.flush_all().await.unwrap();
    let mut events = authority.peer.events();
    let _second = peer().await;
    seen(&mut events, |event| matches!(event, Event::TargetStoreReplaced { .. }).then_some(()))
        .await;
    authority.sync().await;
    authority.becomes("one", "b", RowStatus::Success).await;
    assert_eq!(target.hash("one").await, store.hash("one").await);
}

#[tokio::test]
async fn an_authority_whose_redis_was_wiped_fills_its_own_store_and_asks_what_its_targets_have() {
    let settled = Settled::new(Redis::start().await.unwrap()).await;
    // It has no target: no row would tell of it.
    let alone = Ensure::new(client_id("alone"), secret("secret of alone"));
    settled.authority.peer.ensure(alone).await.unwrap();
    let held = settled.store.hash("alone").await;
    settled.store.redis.flush_all().await.unwrap();
    // The target loses its own at the same time, and says so to one that has forgotten what it had.
    settled.target.redis.flush_all().await.unwrap();
    let authority = &settled.authority;
    let target = &settled.target;
    eventually(SOON, || async {
        authority.sync().await;
        let own = settled.store.hash("alone").await == held;
        let there = target.hash("one").await.is_some() && target.hash("two").await.is_some();
        (own && there).then_some(())
    })
    .await;
    // Which of the stores that the target named is the present one, answers tell: that may take another sync.
    eventually(SOON, || async {
        authority.sync().await;
        let success = |client: &&str| authority.status(client, "b") == RowStatus::Success;
        CLIENTS.iter().all(success).then_some(())
    })
    .await;
    settled.whole_again().await;
}

#[tokio::test]
async fn what_somebody_altered_behind_the_cursor_is_put_right_when_the_target_is_asked_again() {
    let settled = Settled::new(Redis::start().await.unwrap()).await;
    let altered = json!({"secretHash": hash_of(66), "allowedIps": []}).to_string();
    let redis = &settled.target.redis;
    let () = redis.command(&["HSET", "hmac:http:clients", "one", &altered]).await.unwrap();
    let () = redis.command(&["HDEL", "hmac:http:clients", "two"]).await.unwrap();
    let () = redis.command(&["HSET", "hmac:http:clients", "gone", &altered]).await.unwrap();
    settled.authority.peer.resend(queue("b")).await.unwrap();
    settled.whole_again().await;
    // What stood there was no decision: it is not accepted for a while longer.
    let backup: Option<String> =
        redis.command(&["GET", "hmac:http:credentials-backup:one"]).await.unwrap();
    assert_eq!(backup, None);
}

/// A source that has lost its books sends a revision that was in effect under another id, and that may sort before
/// the one that the target's process remembers.
#[tokio::test]
async fn a_revision_under_another_id_fills_a_store_that_has_lost_it() {
    let (mesh, store) = (Mesh::new().await, Store::start().await);
    let _peer = ready(mesh.peer("b", &store)).await;
    mesh.queues.declare("hmac-a.queue").await.unwrap();
    let mut event = apply("a", "b", "one", now_ms(), &hash_of(1));
    event["propagationSecret"] = propagation_secret_text("b").into();
    for id in ["ffffffff-0000-4000-8000-000000000000", "00000000-0000-4000-8000-000000000000"] {
        store.redis.flush_all().await.unwrap();
        event["eventId"] = id.into();
        mesh.send("b", &event).await;
        let answer = mesh.take("a").await;
        assert_eq!((&answer["ackEventId"], &answer["ackResult"]), (&json!(id), &json!("applied")));
        assert!(answer["held"].is_null(), "{answer}");
        assert_eq!(store.hash("one").await, Some(hash_of(1)));
    }
}

/// A target that speaks the contract's first version alone.
#[tokio::test]
async fn a_target_that_names_no_store_is_asked_again_on_demand_under_the_same_id() {
    let (mesh, store) = (Mesh::new().await, Store::start().await);
    let authority = mesh.full("a", &store, &["b"]).await;
    authority.ensure("one", &["b"]).await;
    authority.sync().await;
    let first = mesh.take("b").await;
    mesh.send("a", &ack(&first, "b")).await;
    authority.becomes("one", "b", RowStatus::Success).await;
    assert_eq!(authority.sync().await.targets_published, 0);
    authority.peer.resend(queue("b")).await.unwrap();
    assert_eq!(authority.sync().await.targets_published, 1);
    let second = mesh.take("b").await;
    assert_eq!(second, first);
    assert_eq!(authority.status("one", "b"), RowStatus::Sent);
    mesh.send("a", &ack(&second, "b")).await;
    authority.becomes("one", "b", RowStatus::Success).await;
}

/// What a target says when it has another store than before.
fn announced(sender: &str, secret: &str, store: &str) -> Value {
    let id = fresh_id();
    json!({
        "eventId": id, "ts": now_ms(), "propagationSecret": secret, "senderAmqpQueue": sender,
        "op": "credential.ack", "ackEventId": id, "ackResult": "applied", "ackReason": null,
        "store": {"track": "http", "id": store},
    })
}

/// The answer of `b` to an event, out of a store.
fn answered(event: &Value, store: &str) -> Value {
    let mut answer = ack(event, "b");
    answer["store"] = json!({"track": "http", "id": store});
    answer
}

/// Two names of a store, of which the second may be late, and an answer that is not there yet: no row can be asked.
#[tokio::test]
async fn a_target_is_asked_which_store_it_has_as_soon_as_a_row_can_be_asked() {
    let (mesh, store) = (Mesh::new().await, Store::start().await);
    let authority = mesh.full("a", &store, &["b"]).await;
    let mut events = authority.peer.events();
    let (first, second) = (fresh_id(), fresh_id());
    authority.ensure("one", &["b"]).await;
    authority.sync().await;
    let event = mesh.take("b").await;
    for name in [&first, &second] {
        mesh.send("a", &announced("b", &propagation_secret_text("a"), name)).await;
    }
    seen(&mut events, |event| matches!(event, Event::TargetStoreReplaced { .. }).then_some(()))
        .await;
    assert_eq!(authority.sync().await.targets_published, 0);
    mesh.send("a", &answered(&event, &second)).await;
    authority.becomes("one", "b", RowStatus::Success).await;
    assert_eq!(authority.sync().await.targets_published, 1);
    // The answer tells; nothing is left to ask.
    mesh.send("a", &answered(&mesh.take("b").await, &second)).await;
    authority.becomes("one", "b", RowStatus::Success).await;
    assert_eq!(authority.sync().await.targets_published, 0);
}

#[tokio::test]
async fn after_ten_minutes_without_a_row_that_can_be_asked_nobody_waits_for_one() {
    let (mesh, store) = (Mesh::new().await, Store::start().await);
    let clock = StepClock::default();
    let builder = clock.clone();
    let authority = mesh.full_with("a", &store, directory_of(&["b"]), |b| b.clock(builder)).await;
    let mut events = authority.peer.events();
    for _ in 0..2 {
        mesh.send("a", &announced("b", &propagation_secret_text("a"), &fresh_id())).await;
    }
    seen(&mut events, |event| matches!(event, Event::TargetStoreReplaced { .. }).then_some(()))
        .await;
    let listed = async || {
        authority.sync().await;
        let listed: Vec<String> =
            store.redis.command(&["HKEYS", "propagation:refills"]).await.unwrap();
        listed.iter().any(|listed| listed == "http:b")
    };
    assert!(listed().await);
    clock.step(599_000);
    assert!(listed().await);
    clock.step(2_000);
    assert!(!listed().await);
}

/// It cannot sign, so that what it said before its first answer proved nothing; but it said it.
#[tokio::test]
async fn an_answer_that_is_older_than_what_a_receive_only_target_has_said_does_not_count() {
    let (mesh, store) = (Mesh::new().await, Store::start().await);
    let authority = mesh.full_with("a", &store, directory_of(&[]), patient_for_a_second).await;
    let secret = crate::mesh::propagation_secret("b");
    authority.management.add_receive_only_target(queue("b"), secret);
    let mut events = authority.peer.events();
    let (old, new) = (fresh_id(), fresh_id());
    authority.ensure("one", &["b"]).await;
    authority.sync().await;
    let event = mesh.take("b").await;
    let unsigned = |mut answer: Value| {
        answer["propagationSecret"] = "".into();
        answer
    };
    mesh.send("a", &announced("b", "", &new)).await;
    mesh.drained("a").await;
    mesh.send("a", &unsigned(answered(&event, &old))).await;
    seen(&mut events, |event| matches!(event, Event::AckOutdated { .. }).then_some(())).await;
    assert_eq!(authority.status("one", "b"), RowStatus::Sent);
    mesh.send("a", &unsigned(answered(&event, &new))).await;
    authority.becomes("one", "b", RowStatus::Success).await;
    assert_eq!(authority.row("one", "b").store.unwrap().as_str(), new);
}

/// An authority that has lost its books hears of the target's new store first, and then, late, an answer out of the old
/// one. Nothing tells which of the two is the newer one, so the target has to be asked.
#[tokio::test]
async fn a_late_answer_out_of_a_store_that_nobody_remembers_does_not_hide_that_it_is_gone() {
    let (mesh, store) = (Mesh::new().await, Store::start().await);
    let authority = mesh.full_with("a", &store, directory_of(&["b"]), patient_for_a_second).await;
    let (old, new) = (fresh_id(), fresh_id());
    authority.ensure("one", &["b"]).await;
    authority.sync().await;
    mesh.send("a", &answered(&mesh.take("b").await, &old)).await;
    authority.becomes("one", "b", RowStatus::Success).await;

    store.redis.flush_all().await.unwrap();
    let mut events = authority.peer.events();
    let asked = eventually(SOON, || async {
        authority.sync().await;
        (authority.status("one", "b") == RowStatus::Sent).then_some(())
    });
    asked.await;
    mesh.send("a", &announced("b", &propagation_secret_text("a"), &new)).await;
    mesh.drained("a").await;
    authority.sync().await;
    // The answer that was on its way.
    let event = mesh.take("b").await;
    mesh.send("a", &answered(&event, &old)).await;
    seen(&mut events, |event| matches!(event, Event::TargetStoreReplaced { .. }).then_some(()))
        .await;
    // The target answers from now on out of the store that it has, until it is asked for nothing.
    eventually(SOON, || async {
        authority.sync().await;
        while let Some(message) = mesh.queues.get(&queue_name("b")).await.unwrap() {
            let event: Value = serde_json::from_slice(&message.body).unwrap();
            if !is_announcement(&event) {
                mesh.send("a", &answered(&event, &new)).await;
            }
        }
        let row = authority.row("one", "b");
        let proved = row.store.is_some_and(|store| store.as_str() == new);
        (proved && row.status == RowStatus::Success).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_cannot_prove_to_be_the_target_cannot_have_it_asked_again() {
    let mut settled = Settled::new(Redis::start().await.unwrap()).await;
    let announce = |sender: &str, secret: &str| announced(sender, secret, &fresh_id());
    settled.mesh.send("a", &announce("b", "")).await;
    settled.mesh.send("a", &announce("b", "not the secret of a")).await;
    for _ in 0..2 {
        seen(&mut settled.events, |event| matches!(event, Event::Refused { .. }).then_some(()))
            .await;
    }
    // A peer that is nobody's target may say what it likes.
    settled.mesh.send("a", &announce("c", &propagation_secret_text("a"))).await;
    settled.mesh.drained("a").await;
    assert_eq!(settled.authority.sync().await.targets_published, 0);
    // Who knows the authority's secret may speak for itself, and nothing is lost by it.
    settled.mesh.send("a", &announce("b", &propagation_secret_text("a"))).await;
    settled.told().await;
    settled.authority.sync().await;
    // The target's answers name the store that it has: in the end it is asked for nothing.
    eventually(SOON, || async {
        let published = settled.authority.sync().await.targets_published;
        let settled = CLIENTS
            .iter()
            .all(|client| settled.authority.status(client, "b") == RowStatus::Success);
        (published == 0 && settled).then_some(())
    })
    .await;
}
