//! A peer without a database: it applies, answers, shows what it holds, and decides nothing.

use serde_json::json;

use crate::process::Mesh;

#[tokio::test(flavor = "multi_thread")]
async fn driving_routes_say_that_there_is_no_management() {
    let mesh = Mesh::new().await;
    let peer = mesh.receive_only("orders").await.ready().await;
    let code = "MANAGEMENT_NOT_CONFIGURED";
    for (path, body) in [
        ("/admin/ensure", json!({"clientId": "a"})),
        ("/admin/rotate", json!({"clientId": "a"})),
        ("/admin/revoke", json!({"clientId": "a"})),
        ("/admin/sync", json!({})),
        ("/admin/targets", json!({"targetAmqpQueue": "b", "propagationSecret": "s"})),
        ("/admin/retry", json!({"clientId": "a", "targetAmqpQueue": "b"})),
        ("/admin/resend", json!({"targetAmqpQueue": "b"})),
        ("/rotate", json!({"secretName": "a"})),
    ] {
        peer.post(path, body).await.refuses(409, code);
    }
    peer.delete("/admin/targets/b").await.refuses(409, code);
    for path in ["/admin/audit", "/admin/due"] {
        peer.get(path).await.refuses(409, code);
    }
    assert!(peer.get("/health/ready").await.is(200)["checks"].get("database").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_what_its_own_store_holds() {
    let mesh = Mesh::new().await;
    let (authority, orders) =
        tokio::join!(async { mesh.full("authority").await.ready().await }, async {
            mesh.receive_only("orders").await.ready().await
        },);
    authority.knows(&["orders"]).await;
    for (client, track) in [("b", "http"), ("a", "http"), ("a", "message")] {
        let ensure = json!({
            "clientId": client, "track": track, "targets": ["orders"], "allowedIps": ["10.0.0.1"],
        });
        authority.post("/admin/ensure", ensure).await.is(201);
    }
    authority.post("/admin/sync", json!({})).await.is(200);
    let held = hmac_propagator_support::eventually(crate::process::SOON, || async {
        let state = orders.get("/admin/state").await.is(200);
        (state["credentials"].as_array().unwrap().len() == 3).then_some(state)
    })
    .await;
    let shown: Vec<_> = held["credentials"].as_array().unwrap().iter().collect();
    let names: Vec<_> = shown.iter().map(|c| (c["track"].clone(), c["clientId"].clone())).collect();
    let (http, message) = (json!("http"), json!("message"));
    let (a, b) = (json!("a"), json!("b"));
    assert_eq!(names, [(http.clone(), a.clone()), (http, b), (message, a)]);
    assert_eq!(shown[0]["allowedIps"], json!(["10.0.0.1"]));
    assert_eq!((&held["targets"], &held["pivots"]), (&json!([]), &json!([])));
    assert!(!held.to_string().contains(&orders.hash("a").await.unwrap()));
    let next = orders.get("/admin/state?limit=2").await.is(200)["next"].clone();
    assert_eq!(next, "http:b");
    let rest = orders.get("/admin/state?after=http:b").await.is(200);
    assert_eq!(rest["credentials"].as_array().unwrap().len(), 1);

    let secret = orders.get("/secrets/a").await.is(200);
    assert_eq!((&secret["state"], &secret["rotationCount"]), (&json!("active"), &json!(null)));
    orders.get("/secrets/nobody").await.refuses(404, "UNKNOWN_SECRET");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_peer_tells_of_a_secret_that_another_one_decides_about() {
    let mesh = Mesh::new().await;
    let (authority, orders) =
        tokio::join!(async { mesh.full("authority").await.ready().await }, async {
            mesh.full("orders").await.ready().await
        });
    authority.knows(&["orders"]).await;
    authority.post("/admin/ensure", json!({"clientId": "a", "targets": ["orders"]})).await.is(201);
    authority.post("/admin/sync", json!({})).await.is(200);
    let secret = hmac_propagator_support::eventually(crate::process::SOON, || async {
        let answer = orders.get("/secrets/a").await;
        (answer.status == 200).then(|| answer.is(200))
    })
    .await;
    assert_eq!((&secret["state"], &secret["rotationCount"]), (&json!("active"), &json!(null)));
    // What it decides itself is told from its own rows.
    orders.post("/admin/ensure", json!({"clientId": "own"})).await.is(201);
    assert_eq!(orders.get("/secrets/own").await.is(200)["rotationCount"], 0);
    orders.get("/secrets/nobody").await.refuses(404, "UNKNOWN_SECRET");
}
