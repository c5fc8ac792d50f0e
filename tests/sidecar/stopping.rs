//! A graceful stop, within its deadline, with nothing lost; and the way to end at once.

use std::time::{Duration, Instant};

use hmac_propagator_support::{Mode, Proxy, eventually};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::{Mesh, Peer, SOON, TOKEN, propagation_secret};

/// A full peer behind a proxy to the broker.
async fn behind_a_proxy(mesh: &Mesh) -> (Peer, Proxy) {
    let proxy = mesh.proxy().await;
    (mesh.full_via(&proxy).await.set("SHUTDOWN_DEADLINE", "4s").ready().await, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_signals_end_it_with_code_0() {
    let mesh = Mesh::new().await;
    for signal in ["-TERM", "-INT"] {
        let mut peer = mesh.full("authority").await.ready().await;
        peer.signal(signal);
        assert_eq!(peer.ended().await, Some(0), "{}", peer.said.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_during_a_sync_with_streams_open_keeps_its_deadline_and_loses_nothing() {
    let mesh = Mesh::new().await;
    let (mut authority, proxy) = behind_a_proxy(&mesh).await;
    let target = json!({
        "targetAmqpQueue": "orders", "propagationSecret": propagation_secret("orders"),
        "receiveOnly": true,
    });
    authority.post("/admin/targets", target).await.is(201);
    let ensure = json!({"clientId": "in-hand", "targets": ["orders"]});
    authority.post("/admin/ensure", ensure).await.is(201);
    // The broker says nothing more: the sync hangs.
    proxy.set_mode(Mode::BlackHole);
    let request = authority.request(Method::POST, "/admin/sync");
    let syncing = tokio::spawn(request.send());
    // The event is on record.
    eventually(SOON, || async {
        let pattern = ["KEYS", "*in-flight:http:orders:in-hand"];
        let found: Vec<String> = authority.spec.redis.command(&pattern).await.unwrap();
        (!found.is_empty()).then_some(())
    })
    .await;
    for number in 0..20 {
        let ensure = json!({"clientId": format!("later-{number}"), "targets": ["orders"]});
        authority.post("/admin/ensure", ensure).await.is(201);
    }
    let mut streams = Vec::new();
    for _ in 0..10 {
        let request = authority.request(Method::GET, "/events").timeout(Duration::from_secs(60));
        streams.push(request.send().await.unwrap());
    }
    let begun = Instant::now();
    authority.signal("-TERM");
    for mut stream in streams {
        while stream.chunk().await.unwrap().is_some() {}
    }
    assert_eq!(authority.ended().await, Some(0), "{}", authority.said.text());
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    syncing.await.unwrap().ok();
    proxy.set_mode(Mode::Pass);

    // All of it goes on: every credential reaches the target, and its answers count.
    let orders = mesh.receive_only("orders").await.ready().await;
    let authority = authority.spec.ready().await;
    // What the ended process had claimed in the database is free again after a minute.
    eventually(Duration::from_secs(90), || async {
        authority.post("/admin/sync", json!({})).await.is(200);
        let state = authority.get("/admin/state").await.is(200);
        let pivots = state["pivots"].as_array().unwrap();
        pivots.iter().all(|pivot| pivot["status"] == "success").then_some(())
    })
    .await;
    let held: u64 = orders.spec.redis.command(&["HLEN", "hmac:http:clients"]).await.unwrap();
    assert_eq!(held, 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_event_streams_end_with_it() {
    let mesh = Mesh::new().await;
    let mut peer = mesh.full("authority").await.ready().await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let request = peer.request(Method::GET, "/events").timeout(Duration::from_secs(60));
        let stream = request.send().await.unwrap();
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    let begun = Instant::now();
    peer.signal("-TERM");
    for mut stream in streams {
        // Ends as a stream ends, and is not cut off.
        while stream.chunk().await.unwrap().is_some() {}
    }
    assert_eq!(peer.ended().await, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_hand_is_answered_and_an_idle_connection_closed() {
    let mesh = Mesh::new().await;
    let mut peer = mesh.full("authority").await.ready().await;
    let address = peer.url.trim_start_matches("http://").to_owned();
    let mut idle = TcpStream::connect(&address).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 1000]).await.unwrap() > 0);
    let mut busy = TcpStream::connect(&address).await.unwrap();
    let body = "{\"clientId\":\"late\"}";
    let head = format!(
        "POST /admin/ensure HTTP/1.1\r\nHost: a\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    busy.write_all(head.as_bytes()).await.unwrap();
    // It asks for the body, so the route has the request in hand.
    let mut asked = [0; 25];
    busy.read_exact(&mut asked).await.unwrap();
    peer.signal("-TERM");
    // The idle one is closed while the busy one is still open.
    assert_eq!(idle.read(&mut [0; 1000]).await.unwrap(), 0);
    busy.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(peer.ended().await, Some(0));
    assert!(TcpStream::connect(&address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let mesh = Mesh::new().await;
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let spec = mesh.full("authority").await.set("SHUTDOWN_DEADLINE", "60s");
        let mut peer = spec.ready().await;
        // A body that never comes keeps it from ending well.
        let address = peer.url.trim_start_matches("http://").to_owned();
        let mut slow = TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "POST /admin/ensure HTTP/1.1\r\nHost: a\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/json\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        );
        slow.write_all(head.as_bytes()).await.unwrap();
        slow.read_exact(&mut [0; 25]).await.unwrap();
        peer.signal("-TERM");
        eventually(SOON, || async { peer.said.text().contains("stopping").then_some(()) }).await;
        peer.signal(signal);
        let begun = Instant::now();
        assert_eq!(peer.ended().await, Some(code));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
