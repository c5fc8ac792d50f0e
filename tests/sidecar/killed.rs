//! Processes that are killed between two steps that belong together: what an operating system does to them, not a
//! simulation.

use hmac_propagator_support::{Mode, eventually};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection, Executor};

use crate::process::{Mesh, Peer, SOON, Spec, propagation_secret};

/// "orders" is a receive-only target of the authority, and has one credential: their queues are declared.
async fn acquaint(authority: &Peer) {
    let target = json!({
        "targetAmqpQueue": "orders", "propagationSecret": propagation_secret("orders"),
        "receiveOnly": true,
    });
    authority.post("/admin/targets", target).await.is(201);
    decide(authority, "first").await;
    authority.post("/admin/sync", json!({})).await.is(200);
    authority.settled("first", "orders", "success").await;
}

/// A row that is to be sent.
async fn decide(authority: &Peer, client: &str) {
    let ensure = json!({"clientId": client, "targets": ["orders"]});
    authority.post("/admin/ensure", ensure).await.is(201);
}

/// Ends a process with SIGKILL.
async fn kill(mut peer: Peer) -> Spec {
    peer.signal("-KILL");
    peer.ended().await;
    peer.spec
}

async fn status(authority: &Peer) -> serde_json::Value {
    authority.pivot("webshop", "orders").await.unwrap()["status"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_killed_before_its_answer_answers_after_it_and_changes_nothing() {
    let mesh = Mesh::new().await;
    let proxy = mesh.proxy().await;
    let orders = Spec::new("orders", &mesh.vhost.url_via(proxy.address())).await;
    let (authority, orders) =
        tokio::join!(async { mesh.full("authority").await.ready().await }, orders.ready());
    acquaint(&authority).await;
    decide(&authority, "webshop").await;
    // What it receives takes effect, and nothing that it says gets out.
    proxy.set_mode(Mode::HoldRequests);
    authority.post("/admin/sync", json!({})).await.is(200);
    let held = eventually(SOON, || orders.record("webshop")).await;
    assert_eq!(status(&authority).await, "sent");
    let spec = kill(orders).await;
    proxy.reset_connections();
    proxy.set_mode(Mode::Pass);
    let orders = spec.ready().await;
    authority.settled("webshop", "orders", "success").await;
    // Neither the hash nor when it came.
    assert_eq!(orders.record("webshop").await, Some(held));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_killed_before_it_has_noted_what_it_sent_knows_the_answer() {
    let mesh = Mesh::new().await;
    let proxy = mesh.proxy().await;
    let (authority, orders) =
        tokio::join!(async { mesh.full_via(&proxy).await.ready().await }, async {
            mesh.receive_only("orders").await.ready().await
        });
    acquaint(&authority).await;
    decide(&authority, "webshop").await;
    proxy.set_mode(Mode::BlackHole);
    let syncing = tokio::spawn(authority.request(Method::POST, "/admin/sync").send());
    // The event is on record, and about to be published.
    eventually(SOON, || async {
        let pattern = ["KEYS", "*in-flight:http:orders:webshop"];
        let found: Vec<String> = authority.spec.redis.command(&pattern).await.unwrap();
        (!found.is_empty()).then_some(())
    })
    .await;
    // From here on nothing can be written to the database.
    let database = &authority.spec.environment["DATABASE_URL"];
    let mut lock = sqlx::SqliteConnection::connect(database).await.unwrap();
    lock.execute("BEGIN IMMEDIATE").await.unwrap();
    proxy.set_mode(Mode::Pass);
    eventually(SOON, || orders.record("webshop")).await;
    assert_eq!(status(&authority).await, "pending");
    let spec = kill(authority).await;
    // Answered or not.
    let _ = syncing.await.unwrap();
    lock.execute("ROLLBACK").await.unwrap();
    let authority = spec.ready().await;
    let settled = authority.settled("webshop", "orders", "success").await;
    assert_eq!(settled["proof"], "receive_only", "{settled}");
    assert_eq!(orders.hash("webshop").await, authority.hash("webshop").await);
}
