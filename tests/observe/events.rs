//! `/events` of running peers.

use std::collections::BTreeSet;
use std::time::Duration;

use hmac_propagator_support::eventually;
use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peers::{Mesh, SOON, TOKEN};
use crate::readers::Reader;

async fn reader(mesh: &Mesh, last: Option<&str>) -> Reader {
    Reader::open(&mesh.http, &mesh.authority.url("/events"), last).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_key_is_told_step_by_step() {
    let mesh = Mesh::start().await;
    let mut reader = reader(&mesh, None).await;
    mesh.ensure("shop", "first secret").await;
    // The answer may come before the broker's confirm is told.
    let mut names =
        BTreeSet::from(["key_generated", "key_propagated", "key_verified", "key_activated"]);
    let mut ids = Vec::new();
    while !names.is_empty() {
        let event = reader.until_that(|event| names.contains(event.name.as_str())).await;
        assert_eq!(event.data["clientId"], "shop");
        assert_eq!(event.data["track"], "http");
        let on_target = matches!(event.name.as_str(), "key_propagated" | "key_verified");
        assert_eq!(event.data.get("target").is_some_and(|t| t == "orders"), on_target);
        ids.push(number(&event.id));
        names.remove(event.name.as_str());
    }
    assert!(ids.is_sorted(), "{ids:?}");

    let body = json!({"clientId": "shop"});
    assert_eq!(mesh.post("/admin/revoke", body).await.status(), StatusCode::CREATED);
    let mut changes = BTreeSet::from(["revoked", "sent", "success", "removed"]);
    while !changes.is_empty() {
        let told = reader.until("row_changed").await;
        assert_eq!(told.data["clientId"], "shop");
        changes.remove(told.data["change"].as_str().unwrap_or_default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_is_replayed_and_after_a_restart_it_is_said_to_be_lost() {
    let mesh = Mesh::start().await;
    let mut first = reader(&mesh, None).await;
    mesh.ensure("one", "secret").await;
    let seen = first.until("key_verified").await.id;
    drop(first);
    mesh.ensure("two", "secret").await;
    let mut back = reader(&mesh, Some(&seen)).await;
    let told = back.until("key_generated").await;
    assert_eq!(told.data["clientId"], "two");
    assert!(!back.raw.contains("event: gap"));

    let older = format!("{}-7", epoch(&seen) - 1);
    let mut lost = reader(&mesh, Some(&older)).await;
    let gap = lost.until("gap").await;
    assert_eq!(gap.data["reason"], "restarted");
    assert_eq!(lost.until("key_generated").await.data["clientId"], "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_to_the_directory_over_http_is_told() {
    let mesh = Mesh::start().await;
    let mut reader = reader(&mesh, None).await;
    let body = json!({"targetAmqpQueue": "spare", "propagationSecret": "secret of spare"});
    assert_eq!(mesh.post("/admin/targets", body.clone()).await.status(), StatusCode::CREATED);
    assert_eq!(reader.until("directory_changed").await.data, json!({"target": "spare"}));
    assert_eq!(mesh.post("/admin/targets", body).await.status(), StatusCode::CREATED);
    assert_eq!(reader.until("directory_changed").await.data, json!({"target": "spare"}));
    let dropped = mesh.http.delete(mesh.authority.url("/admin/targets/spare"));
    let dropped = dropped.bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(dropped.status(), StatusCode::OK);
    assert_eq!(reader.until("directory_changed").await.data, json!({"target": "spare"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_stream_is_kept_alive() {
    let mesh = Mesh::start().await;
    let mut reader = reader(&mesh, None).await;
    reader.comment().await;
    reader.comment().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_readers_are_served_and_too_many_are_turned_away() {
    let mesh = Mesh::start().await;
    let mut readers = Vec::new();
    for _ in 0..128 {
        readers.push(reader(&mesh, None).await);
    }
    let url = mesh.authority.url("/events");
    let refused = mesh.http.get(&url).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    mesh.ensure("shop", "secret").await;
    for reader in &mut readers {
        assert_eq!(reader.until("key_generated").await.data["clientId"], "shop");
    }
    let found = mesh.scrape(&mesh.authority).await;
    assert_eq!(found["propagator_event_readers"], 128.0);
    assert_eq!(found["propagator_event_readers_refused_total"], 1.0);
    readers.truncate(1);
    // Their places are free again when the server has seen that they left.
    mesh.ensure("shop", "other").await;
    mesh.eventually("propagator_event_readers", |readers| readers == 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_never_reads_is_dropped_and_holds_up_nobody() {
    let mesh = Mesh::start_with(&[("LOG", "error".to_owned())]).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // The less the kernel takes for it, the sooner it is seen not to read.
    socket.set_recv_buffer_size(4096).unwrap();
    let mut asleep = socket.connect(mesh.target.address()).await.unwrap();
    ask(&mut asleep).await;
    let readers = async || mesh.scrape(&mesh.target).await["propagator_event_readers"];
    eventually(SOON, || async { (readers().await == 1.0).then_some(()) }).await;
    let mut awake = Reader::open(&mesh.http, &mesh.target.url("/events"), None).await;
    let queues = mesh.vhost.queues().await.unwrap();
    // Until the kernel's buffers are full, and then the reader's queue.
    let mut told = 0;
    while mesh.scrape(&mesh.target).await["propagator_event_readers_dropped_total"] == 0.0 {
        for _ in 0..500 {
            told += 1;
            queues.publish("hmac-orders.queue", change(told).as_bytes()).await.unwrap();
        }
        let last = format!("source-{told}-");
        awake.until_that(|event| event.data["source"].to_string().contains(&last)).await;
        assert!(told < 40_000, "it is still not dropped");
    }
    assert_eq!(readers().await, 1.0);
    // Its connection is closed too: what it had not read ends, with an error or without.
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(SOON, asleep.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection is still open");
}

/// An event for `orders` that makes it tell much.
fn change(number: u64) -> String {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    json!({
        "eventId": format!("event-{number}"),
        "ts": u64::try_from(since).unwrap() + number,
        "propagationSecret": "propagation-secret-of-orders",
        "senderAmqpQueue": format!("source-{number}-{}", "x".repeat(180)),
        "op": "credential.update",
        "track": "http",
        "clientId": "y".repeat(250),
        "payload": {"secretHash": "ab".repeat(32)},
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_when_the_peer_stops() {
    let mesh = Mesh::start().await;
    let mut reader = reader(&mesh, None).await;
    reader.position().await;
    let Mesh { authority, target, http, vhost, .. } = mesh;
    let (output, ()) = tokio::join!(authority.terminate(Duration::from_secs(15)), reader.end());
    assert!(!output.unwrap().contains("cut off"), "the stream had to be cut off");
    drop((target, http, vhost));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_for_those_who_hold_the_token_and_carry_no_secret() {
    let mesh = Mesh::start().await;
    let answer = mesh.http.get(mesh.authority.url("/events")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let mut reader = reader(&mesh, None).await;
    mesh.ensure("shop", "plain-text-secret").await;
    reader.until("key_verified").await;
    let hash = eventually(SOON, || async {
        let stored: Option<String> =
            mesh.target.redis().command(&["HGET", "hmac:http:clients", "shop"]).await.unwrap();
        let stored: serde_json::Value = serde_json::from_str(&stored?).unwrap();
        Some(stored["secretHash"].as_str()?.to_owned())
    })
    .await;
    for secret in [hash.as_str(), "plain-text-secret", TOKEN, "propagation-secret-of"] {
        assert!(!reader.raw.contains(secret));
    }
}

async fn ask(stream: &mut TcpStream) {
    let request =
        format!("GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

fn epoch(id: &str) -> u64 {
    id.split_once('-').unwrap().0.parse().unwrap()
}

fn number(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}
