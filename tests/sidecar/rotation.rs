//! `/rotate` and `/secrets/{name}`.

use reqwest::header;
use serde_json::{Value, json};

use crate::process::Mesh;

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_makes_a_new_key_that_nobody_is_shown() {
    let mesh = Mesh::new().await;
    let peer = mesh.full("authority").await.ready().await;
    peer.post("/admin/ensure", json!({"clientId": "webshop", "secret": "first"})).await.is(201);
    let before = peer.hash("webshop").await.unwrap();
    let answer = peer.post("/rotate", json!({"secretName": "webshop"})).await.is(200);
    assert_eq!(answer["success"], true);
    let result = &answer["result"];
    assert_eq!(result["success"], true);
    assert!(result["rotationId"].is_string() && result["timestamp"].is_string(), "{answer}");
    assert!(result["duration"].as_f64().unwrap() > 0.0);
    let after = peer.hash("webshop").await.unwrap();
    assert_ne!(before, after);

    let shown = peer.get("/secrets/webshop").await.is(200);
    assert_eq!((&shown["state"], &shown["rotationCount"]), (&json!("active"), &json!(1)));
    assert_eq!(shown["keys"]["active"][0]["keyId"], result["newKeyId"]);
    assert_eq!(shown["keys"]["expired"].as_array().unwrap().len(), 1);
    assert!(shown["lastRotation"].is_u64() && shown["nextRotation"].is_null(), "{shown}");
    for text in [answer.to_string(), shown.to_string()] {
        assert!(!text.contains(&before) && !text.contains(&after), "{text}");
    }
    peer.post("/admin/revoke", json!({"clientId": "webshop"})).await.is(201);
    let shown = peer.get("/secrets/webshop").await.is(200);
    assert_eq!(shown["state"], "revoked");
    assert_eq!(shown["keys"]["revoked"].as_array().unwrap().len(), 2);
    peer.post("/rotate", json!({"secretName": "webshop"})).await.refuses(404, "UNKNOWN_SECRET");
    peer.post("/rotate", json!({"secretName": "nobody"})).await.refuses(404, "UNKNOWN_SECRET");
    peer.get("/secrets/nobody").await.refuses(404, "UNKNOWN_SECRET");
    peer.get("/secrets/a%20b").await.refuses(400, "INVALID_OPTIONS");
    peer.get("/secrets/webshop?track=ftp").await.refuses(400, "INVALID_OPTIONS");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_rotation_is_open_the_next_one_needs_force() {
    let mesh = Mesh::new().await;
    let peer = mesh.full("authority").await.ready().await;
    peer.knows(&["orders"]).await;
    let ensure = json!({"clientId": "webshop", "targets": ["orders"]});
    peer.post("/admin/ensure", ensure).await.is(201);
    let rotate =
        |force: bool| peer.post("/rotate", json!({"secretName": "webshop", "force": force}));
    let before = peer.hash("webshop").await;
    rotate(false).await.refuses(409, "ROTATION_OPEN");
    assert_eq!(peer.hash("webshop").await, before);
    assert_eq!(peer.get("/secrets/webshop").await.is(200)["state"], "pending");
    rotate(true).await.is(200);
    assert_ne!(peer.hash("webshop").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_rotated_too_often_has_to_wait_and_others_do_not() {
    let mesh = Mesh::new().await;
    let peer = mesh.full("authority").await.ready().await;
    for client in ["a", "b"] {
        peer.post("/admin/ensure", json!({"clientId": client})).await.is(201);
    }
    let rotate = |name: &'static str| peer.post("/rotate", json!({"secretName": name}));
    for _ in 0..3 {
        rotate("a").await.is(200);
    }
    let hash = peer.hash("a").await;
    let refused = rotate("a").await;
    let wait: u64 = refused.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    refused.refuses(429, "RATE_LIMITED");
    assert_eq!(peer.hash("a").await, hash);
    rotate("b").await.is(200);
    assert_eq!(peer.get("/secrets/a").await.is(200)["rotationCount"], json!(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_rotations_at_once_one_is_done() {
    let mesh = Mesh::new().await;
    let peer = mesh.full("authority").await.ready().await;
    peer.knows(&["orders"]).await;
    peer.post("/admin/ensure", json!({"clientId": "a"})).await.is(201);
    // From here on a rotation has somebody to wait for.
    let ensure = json!({"clientId": "a", "targets": ["orders"]});
    peer.post("/admin/ensure", ensure).await.is(201);
    let rotate = || peer.post("/rotate", json!({"secretName": "a"}));
    let answers = futures_util::future::join_all((0..8).map(|_| rotate())).await;
    for answer in answers {
        answer.refuses(409, "ROTATION_OPEN");
    }
    let count = peer.get("/secrets/a").await.is(200)["rotationCount"].clone();
    assert_eq!(count, Value::from(0));
}
