//! Applying and moving the cursor are one atomic step, on one Redis server and on a cluster.

use std::collections::HashMap;

use hmac_propagator::error::ErrorKind;
use hmac_propagator::event::Event;
use hmac_propagator::id::Track;
use hmac_propagator::management::Outcome;
use hmac_propagator::propagator::{Builder, Ensure, Propagator, Revoke};
use hmac_propagator::state::RedisState;
use hmac_propagator::store::{CredentialStore, RedisCredentialStore};
use hmac_propagator_support::{Redis, RedisOptions};
use serde_json::Value;

use crate::help::{RawPublisher, apply, hash_of, now_ms};
use crate::mesh::{
    Full, Mesh, Store, client_id, complete, directory_of, propagation_secret, queue, ready, secret,
    seen,
};

/// The same order in every run, and no sorted one.
fn shuffle(events: &mut [Value]) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for index in (1..events.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let other = usize::try_from(state % (index as u64 + 1)).unwrap();
        events.swap(index, other);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_of_one_target_end_on_the_highest_version_of_each_credential() {
    const CLIENTS: u64 = 10;
    const VERSIONS: u64 = 200;
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let _one = ready(mesh.peer("b", &store)).await;
    let _two = ready(mesh.peer("b", &store)).await;
    mesh.queues.declare("hmac-source.queue").await.unwrap();
    let base = now_ms();
    let mut events = Vec::new();
    for client in 0..CLIENTS {
        for version in 0..VERSIONS {
            let hash = hash_of(client * 10_000 + version);
            let event = apply("source", "b", &format!("c{client}"), base + version, &hash);
            // Every third twice, and rivals with the same ts that only the event id orders.
            if version % 3 == 0 {
                events.push(event.clone());
            }
            if version % 5 == 0 {
                let rival = hash_of(client * 10_000 + 5_000 + version);
                let client = format!("c{client}");
                events.push(apply("source", "b", &client, base + version, &rival));
            }
            events.push(event);
        }
    }
    shuffle(&mut events);
    RawPublisher::connect(&mesh).await.send_all("b", &events).await;
    mesh.filled("source", u32::try_from(events.len()).unwrap()).await;

    let mut highest: HashMap<&str, &Value> = HashMap::new();
    let version = |event: &Value| {
        (event["ts"].as_u64().unwrap(), event["eventId"].as_str().unwrap().to_owned())
    };
    for event in &events {
        let best = highest.entry(event["clientId"].as_str().unwrap()).or_insert(event);
        if version(event) > version(best) {
            *best = event;
        }
    }
    for (client, event) in highest {
        let hash = event["payload"]["secretHash"].as_str().unwrap();
        assert_eq!(store.hash(client).await.as_deref(), Some(hash), "{client}");
        let cursor = store.http.cursor(&client_id(client)).await.unwrap().unwrap();
        assert_eq!(cursor.event_id.as_str(), event["eventId"].as_str().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_event_from_elsewhere_does_not_undo_a_local_decision() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let authority = mesh.full("authority", &store, &["b"]).await;
    let mut events = authority.peer.events();
    let older = apply("other", "authority", "orders", now_ms() - 1, &hash_of(1));
    authority.ensure("orders", &["b"]).await;
    let own = store.hash("orders").await;
    let revision = authority.row("orders", "b").revision;
    assert_eq!(store.cursor_ts("orders").await, Some(revision.get() as f64));
    mesh.send("authority", &older).await;
    let unchanged =
        |event: &Event| matches!(event, Event::CredentialUnchanged { .. }).then_some(());
    seen(&mut events, unchanged).await;
    assert_eq!(store.hash("orders").await, own);

    // Nor does it bring back what was revoked here.
    authority.peer.revoke(Revoke::new(client_id("orders"))).await.unwrap();
    mesh.send("authority", &older).await;
    seen(&mut events, unchanged).await;
    assert_eq!(store.hash("orders").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_delivered_again_is_answered_again_and_changes_nothing() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let _b = ready(mesh.peer("b", &store)).await;
    mesh.queues.declare("hmac-source.queue").await.unwrap();
    let old = apply("source", "b", "orders", now_ms() - 10, &hash_of(1));
    let new = apply("source", "b", "orders", now_ms() - 5, &hash_of(2));
    for event in [&old, &new, &new, &old] {
        mesh.send("b", event).await;
        let answer = mesh.take("source").await;
        assert_eq!(
            (&answer["ackEventId"], &answer["ackResult"]),
            (&event["eventId"], &"applied".into())
        );
    }
    assert_eq!(store.hash("orders").await, Some(hash_of(2)));
}

/// A peer over a cluster, its keys with or without a common hash tag.
fn on_cluster(
    mesh: &Mesh,
    name: &str,
    redis: &Redis,
    tagged: bool,
) -> (Builder, RedisCredentialStore) {
    let state = RedisState::open(&redis.url()).unwrap();
    let (namespace, prefix) =
        if tagged { ("{hmac}:http", "{hmac}:propagation") } else { ("hmac:http", "propagation") };
    let http =
        RedisCredentialStore::new(state.clone(), Track::Http, namespace).state_prefix(prefix);
    let peer = Propagator::builder(mesh.options(), queue(name), propagation_secret(name), state);
    (peer.credential_store(http.clone()).state_prefix(prefix), http)
}

async fn cluster() -> Redis {
    Redis::start_with(RedisOptions { cluster: true, ..Default::default() }).await.unwrap()
}

async fn hash_in(store: &RedisCredentialStore) -> Option<String> {
    let found = store.get(&client_id("orders")).await.unwrap();
    found.map(|found| found.secret_hash.expose().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mesh_on_redis_cluster_works_with_a_common_hash_tag() {
    let mesh = Mesh::new().await;
    let (at, b) = (cluster().await, cluster().await);
    let (authority, here) = on_cluster(&mesh, "authority", &at, true);
    let management = directory_of(&["b"]);
    let authority =
        Full { peer: ready(authority.management(management.clone())).await, management };
    let (target, there) = on_cluster(&mesh, "b", &b, true);
    let source = (queue("authority"), propagation_secret("authority"));
    let _b = ready(target.source_secret(source.0, source.1)).await;
    let mut events = authority.peer.events();
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    assert_eq!(complete(&mut events, "orders").await, Outcome::Success);
    authority.rotate("orders", "second").await;
    authority.sync().await;
    assert_eq!(complete(&mut events, "orders").await, Outcome::Success);
    let held = hash_in(&there).await;
    assert!(held.is_some() && held == hash_in(&here).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_a_common_hash_tag_fails_clearly_and_for_good() {
    let mesh = Mesh::new().await;
    let redis = cluster().await;
    let (builder, _) = on_cluster(&mesh, "untagged", &redis, false);
    let peer = ready(builder.management(directory_of(&[]))).await;
    let error = peer.ensure(Ensure::new(client_id("orders"), secret("x"))).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Store, false));
    let mut chain = String::new();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        chain += &format!("{error} ");
        cause = error.source();
    }
    assert!(chain.to_lowercase().contains("slot"), "{chain}");

    // The same of an event from elsewhere: its source is told at once.
    mesh.queues.declare("hmac-source.queue").await.unwrap();
    mesh.send("untagged", &apply("source", "untagged", "orders", now_ms(), &hash_of(1))).await;
    let answer = mesh.take("source").await;
    assert_eq!(answer["ackResult"], "error");
    assert!(answer["ackReason"].as_str().unwrap().starts_with("store: "), "{answer}");
}
