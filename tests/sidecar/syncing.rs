//! When a peer syncs.

use serde_json::json;

use crate::process::{Mesh, propagation_secret};

#[tokio::test(flavor = "multi_thread")]
async fn with_an_interval_a_decision_does_not_wait_for_it() {
    let mesh = Mesh::new().await;
    let (authority, orders) = tokio::join!(
        async { mesh.full("authority").await.set("SYNC_INTERVAL", "1h").ready().await },
        async { mesh.full("orders").await.ready().await },
    );
    authority.knows(&["orders"]).await;
    orders.knows(&["authority"]).await;
    let ensure = json!({"clientId": "webshop", "secret": "s", "targets": ["orders"]});
    authority.post("/admin/ensure", ensure).await.is(201);
    assert_eq!(authority.settled("webshop", "orders", "success").await["proof"], "signed");
    authority.post("/rotate", json!({"secretName": "webshop"})).await.is(200);
    let revision = authority.pivot("webshop", "orders").await.unwrap()["revision"].clone();
    let settled = authority.settled("webshop", "orders", "success").await;
    assert_eq!(settled["revision"], revision);
    assert_eq!(orders.hash("webshop").await, authority.hash("webshop").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_interval_it_syncs_when_asked_and_a_waiting_event_is_not_doubled() {
    let mesh = Mesh::new().await;
    let authority = mesh.full("authority").await.ready().await;
    let target = json!({
        "targetAmqpQueue": "orders", "propagationSecret": propagation_secret("orders"),
        "receiveOnly": true,
    });
    authority.post("/admin/targets", target).await.is(201);
    let ensure = json!({"clientId": "webshop", "targets": ["orders"]});
    authority.post("/admin/ensure", ensure).await.is(201);
    let queues = mesh.vhost.queues().await.unwrap();
    assert_eq!(authority.pivot("webshop", "orders").await.unwrap()["status"], "pending");
    for published in [1, 0, 0] {
        let summary = authority.post("/admin/sync", json!({})).await.is(200);
        assert_eq!(summary["targetsPublished"], published);
        assert_eq!(queues.count("hmac-orders.queue").await, Ok(Some(1)));
    }
    assert_eq!(authority.pivot("webshop", "orders").await.unwrap()["status"], "sent");
    let orders = mesh.receive_only("orders").await.ready().await;
    authority.settled("webshop", "orders", "success").await;
    assert_eq!(orders.hash("webshop").await, authority.hash("webshop").await);
}
