//! A receive-only peer that loses its store: it says so itself when it knows whom to tell, otherwise an
//! operator does.

use serde_json::json;

use crate::process::{Mesh, Peer};

/// An authority with a credential that "orders" holds, and "orders".
async fn delivered(mesh: &Mesh, sources: &'static str) -> (Peer, Peer) {
    let orders = mesh.receive_only("orders").await.set("SOURCES", sources);
    let authority = mesh.full("authority").await;
    let (authority, orders) = tokio::join!(authority.ready(), orders.ready());
    let target = json!({
        "targetAmqpQueue": "orders", "propagationSecret": "propagation-secret-of-orders",
        "receiveOnly": true,
    });
    authority.post("/admin/targets", target).await.is(201);
    authority.post("/admin/ensure", json!({"clientId": "a", "targets": ["orders"]})).await.is(201);
    authority.post("/admin/sync", json!({})).await.is(200);
    authority.settled("a", "orders", "success").await;
    (authority, orders)
}

/// The same peer with an empty Redis.
async fn started_on_nothing(mut peer: Peer) -> Peer {
    peer.signal("-TERM");
    peer.ended().await;
    peer.spec.redis.command::<()>(&["FLUSHALL"]).await.unwrap();
    let peer = peer.spec.ready().await;
    assert_eq!(peer.hash("a").await, None);
    peer
}

async fn holds_it(authority: &Peer, orders: &Peer) {
    hmac_propagator_support::eventually(crate::process::SOON, || async {
        authority.post("/admin/sync", json!({})).await.is(200);
        (orders.hash("a").await == authority.hash("a").await).then_some(())
    })
    .await;
    authority.settled("a", "orders", "success").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_it_names_is_told() {
    let mesh = Mesh::new().await;
    let (authority, orders) = delivered(&mesh, "authority").await;
    let orders = started_on_nothing(orders).await;
    holds_it(&authority, &orders).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_it_asked_again() {
    let mesh = Mesh::new().await;
    let (authority, orders) = delivered(&mesh, "").await;
    let orders = started_on_nothing(orders).await;
    // It knows nobody whom it could tell.
    authority.post("/admin/sync", json!({})).await.is(200);
    assert_eq!(authority.pivot("a", "orders").await.unwrap()["status"], "success");
    let unknown = json!({"targetAmqpQueue": "nobody"});
    authority.post("/admin/resend", unknown).await.refuses(404, "UNKNOWN_TARGET");
    let asked = authority.post("/admin/resend", json!({"targetAmqpQueue": "orders"})).await.is(201);
    assert_eq!(asked, json!({"targetAmqpQueue": "orders", "op": "target.resend"}));
    holds_it(&authority, &orders).await;
}
