//! `/events` of running peers.

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
    let mut ids = Vec::new();
    for name in ["key_generated", "key_propagated", "key_verified", "key_activated"] {
        let event = reader.until(name).await;
        assert_eq!(event.data["clientId"], "shop");
        assert_eq!(event.data["track"], "http");
        let on_target = matches!(name, "key_propagated" | "key_verified");
        assert_eq!(event.data.get("target").is_some_and(|t| t == "orders"), on_target);
        ids.push(number(&event.id));
    }
    assert!(ids.is_sorted(), "{ids:?}");

    let body = json!({"clientId": "shop"});
    assert_eq!(mesh.post("/admin/revoke", body).await.status(), StatusCode::CREATED);
    for change in ["revoked", "sent", "success", "removed"] {
        let told = reader.until("row_changed").await;
        assert_eq!(
            (&told.data["change"], &told.data["clientId"]),
            (&json!(change), &json!("shop"))
        );
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
    let mesh = Mesh::start_with(&[("SYNC_INTERVAL", "0".to_owned())]).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // The less the kernel takes for it, the sooner it is seen not to read.
    socket.set_recv_buffer_size(4096).unwrap();
    let mut asleep = socket.connect(mesh.authority.address()).await.unwrap();
    ask(&mut asleep).await;
    mesh.eventually("propagator_event_readers", |readers| readers == 1.0).await;
    let mut awake = reader(&mesh, None).await;
    let client = format!("client-{}", "x".repeat(240));
    let body = json!({"clientId": client, "secret": "s"});
    let dropped = "propagator_event_readers_dropped_total";
    // Until the kernel's buffers are full, and then the reader's queue.
    let mut told = 0;
    while mesh.scrape(&mesh.authority).await[dropped] == 0.0 {
        for _ in 0..200 {
            let answer = mesh.post("/admin/ensure", body.clone()).await;
            assert_eq!(answer.status(), StatusCode::CREATED);
            awake.until("key_activated").await;
        }
        told += 200;
        assert!(told < 40_000, "it is still not dropped");
    }
    assert_eq!(mesh.scrape(&mesh.authority).await["propagator_event_readers"], 1.0);
    // Its connection is closed too: what it had not read ends, with an error or without.
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(SOON, asleep.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection is still open");
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
