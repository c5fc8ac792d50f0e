//! Decisions, the directory, the state.

use serde_json::{Value, json};

use crate::process::{Mesh, Peer, propagation_secret};

async fn authority(mesh: &Mesh) -> Peer {
    mesh.full("authority").await.ready().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_made_changed_rotated_and_revoked() {
    let mesh = Mesh::new().await;
    let (authority, orders) =
        tokio::join!(authority(&mesh), async { mesh.receive_only("orders").await.ready().await });
    let target = json!({
        "targetAmqpQueue": "orders", "propagationSecret": propagation_secret("orders"),
        "receiveOnly": true, "note": "ask Kim",
    });
    authority.post("/admin/targets", target).await.is(201);

    let ensure = json!({"clientId": "webshop", "secret": "first-secret", "targets": ["orders"]});
    let created = authority.post("/admin/ensure", ensure.clone()).await.is(201);
    assert_eq!((&created["clientId"], &created["op"]), (&json!("webshop"), &json!("create")));
    assert!(created.get("secret").is_none(), "a given secret comes back: {created}");
    let updated = authority.post("/admin/ensure", ensure).await.is(201);
    assert_eq!(updated["op"], "update");
    assert_eq!(authority.pivot("webshop", "orders").await.unwrap()["status"], "pending");

    let summary = authority.post("/admin/sync", json!({})).await.is(200);
    assert_eq!(summary["targetsPublished"], 1);
    let pivot = authority.settled("webshop", "orders", "success").await;
    assert_eq!((&pivot["attemptCount"], &pivot["reason"]), (&json!(1), &Value::Null));
    assert!(pivot["sentAt"].is_u64() && pivot["appliedAt"].is_u64() && pivot["failedAt"].is_null());
    assert_eq!(pivot["revision"], updated["revision"]);
    assert_eq!(pivot["proof"], "receive_only");
    assert_eq!(orders.hash("webshop").await, authority.hash("webshop").await);

    let before = authority.hash("webshop").await;
    let rotated = authority.post("/admin/rotate", json!({"clientId": "webshop"})).await.is(201);
    assert!(rotated["secret"].as_str().unwrap().len() >= 32);
    assert_ne!(authority.hash("webshop").await, before);
    authority.post("/admin/sync", json!({})).await.is(200);
    authority.settled("webshop", "orders", "success").await;
    assert_eq!(orders.hash("webshop").await, authority.hash("webshop").await);

    let revoke = json!({"clientId": "webshop", "targets": ["orders"]});
    authority.post("/admin/revoke", revoke).await.is(201);
    assert_eq!(authority.hash("webshop").await, None);
    authority.post("/admin/sync", json!({})).await.is(200);
    authority.settled("webshop", "orders", "success").await;
    assert_eq!(orders.hash("webshop").await, None);
    let gone = authority.post("/admin/rotate", json!({"clientId": "webshop"})).await;
    gone.refuses(404, "UNKNOWN_CLIENT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_made_and_shown_once() {
    let mesh = Mesh::new().await;
    let authority = authority(&mesh).await;
    for body in [json!({"clientId": "a", "targets": []}), json!({"clientId": "b", "secret": null})]
    {
        let made = authority.post("/admin/ensure", body).await.is(201);
        let secret = made["secret"].as_str().unwrap().to_owned();
        assert!((32..=256).contains(&secret.len()), "{secret}");
        let state = authority.get("/admin/state").await.is(200).to_string();
        let audit = authority.get("/admin/audit").await.is(200).to_string();
        let hash = authority.hash(made["clientId"].as_str().unwrap()).await.unwrap();
        for shown in [state, audit] {
            assert!(!shown.contains(&secret) && !shown.contains(&hash), "{shown}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restrictions_and_the_rotation_policy_are_kept_and_shown() {
    let mesh = Mesh::new().await;
    let authority = authority(&mesh).await;
    let ensure = json!({
        "clientId": "webshop", "targets": [], "track": "message", "allowedIps": ["10.0.0.0/8"],
        "expiresAt": "2100-01-01T02:00:00+02:00", "rotateAfterDays": 30,
    });
    authority.post("/admin/ensure", ensure).await.is(201);
    let shown = || async { authority.get("/admin/state").await.is(200)["credentials"][0].clone() };
    let first = shown().await;
    assert_eq!((&first["track"], &first["deleted"]), (&json!("message"), &json!(false)));
    assert_eq!(first["allowedIps"], json!(["10.0.0.0/8"]));
    assert_eq!(first["expiresAt"], json!(4_102_444_800_000_u64));
    assert_eq!(first["rotateAfterDays"], json!(30));
    let due = first["rotatedAt"].as_u64().unwrap() + 30 * 86_400_000;
    assert_eq!(first["nextRotationAt"].as_u64(), Some(due));
    assert_eq!(authority.get("/admin/due").await.is(200), json!({"due": []}));

    // What is left out stays.
    let again = json!({"clientId": "webshop", "track": "message"});
    authority.post("/admin/ensure", again).await.is(201);
    let second = shown().await;
    for field in ["allowedIps", "expiresAt", "rotateAfterDays"] {
        assert_eq!(second[field], first[field], "{field}");
    }
    let clear = json!({
        "clientId": "webshop", "track": "message", "allowedIps": [], "expiresAt": null,
        "rotateAfterDays": null,
    });
    authority.post("/admin/ensure", clear).await.is(201);
    let third = shown().await;
    assert_eq!(third["allowedIps"], json!([]));
    assert!(third["expiresAt"].is_null() && third["nextRotationAt"].is_null(), "{third}");
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_come_change_and_go() {
    let mesh = Mesh::new().await;
    let authority = authority(&mesh).await;
    let target = |more: Value| {
        let mut target = json!({"targetAmqpQueue": "orders", "propagationSecret": "s"});
        target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        target
    };
    let done = authority.post("/admin/targets", target(json!({"note": "ask Kim"}))).await.is(201);
    assert_eq!(done, json!({"targetAmqpQueue": "orders", "op": "target.create"}));
    let done = authority.post("/admin/targets", target(json!({"receiveOnly": true}))).await.is(201);
    assert_eq!(done["op"], "target.update");
    let shown = authority.get("/admin/state").await.is(200)["targets"][0].clone();
    assert_eq!((&shown["note"], &shown["receiveOnly"]), (&json!("ask Kim"), &json!(true)));
    assert!(shown.get("propagationSecret").is_none());

    let ensure = json!({"clientId": "webshop", "targets": ["orders"]});
    authority.post("/admin/ensure", ensure).await.is(201);
    let used = authority.delete("/admin/targets/orders").await.refuses(409, "TARGET_IN_USE");
    assert!(used.contains("http:webshop"), "{used}");
    authority
        .post("/admin/targets", json!({"targetAmqpQueue": "b", "propagationSecret": "s"}))
        .await;
    let done = authority.delete("/admin/targets/b").await.is(200);
    assert_eq!(done["op"], "target.delete");
    authority.delete("/admin/targets/b").await.refuses(404, "UNKNOWN_TARGET");
    authority.delete("/admin/targets/authority").await.refuses(400, "INVALID_OPTIONS");
    for odd in ["a.b", "a%2Fb", "%00", "%FF", "..%2Fx", "%20"] {
        authority.delete(&format!("/admin/targets/{odd}")).await.refuses(400, "INVALID_OPTIONS");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_comes_in_parts_where_it_is_asked_for() {
    let mesh = Mesh::new().await;
    let authority = authority(&mesh).await;
    for client in ["c", "a", "b"] {
        authority.post("/admin/ensure", json!({"clientId": client})).await.is(201);
    }
    authority.post("/admin/ensure", json!({"clientId": "a", "track": "message"})).await.is(201);
    let (mut seen, mut path) = (Vec::new(), "/admin/state?limit=3".to_owned());
    loop {
        let part = authority.get(&path).await.is(200);
        let names = part["credentials"].as_array().unwrap().iter();
        seen.extend(names.map(|c| format!("{}:{}", c["track"], c["clientId"]).replace('"', "")));
        let Some(next) = part["next"].as_str() else { break };
        path = format!("/admin/state?limit=3&after={next}");
    }
    assert_eq!(seen, ["http:a", "http:b", "http:c", "message:a"]);
    for wrong in ["limit=0", "limit=10001", "limit=x", "after=nonsense", "after=ftp:a", "limits=1"]
    {
        let refused = authority.get(&format!("/admin/state?{wrong}")).await;
        refused.refuses(400, "INVALID_OPTIONS");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_says_what_was_done_over_http() {
    let mesh = Mesh::new().await;
    let authority = authority(&mesh).await;
    authority.knows(&["orders"]).await;
    authority.post("/admin/ensure", json!({"clientId": "a", "targets": ["orders"]})).await.is(201);
    authority.post("/admin/rotate", json!({"clientId": "a"})).await.is(201);
    authority.post("/admin/ensure", json!({"clientId": "b"})).await.is(201);
    let all = authority.get("/admin/audit").await.is(200);
    let actions: Vec<_> =
        all["entries"].as_array().unwrap().iter().map(|e| e["action"].clone()).collect();
    assert_eq!(actions, ["fully_propagated", "ensure", "rotate", "ensure", "target_added"]);
    assert_eq!((&all["entries"][1]["actor"], &all["next"]), (&json!("serve"), &Value::Null));
    let of_a = authority.get("/admin/audit?clientId=a&limit=1").await.is(200);
    assert_eq!(of_a["entries"][0]["action"], "rotate");
    let next = of_a["next"].as_u64().unwrap();
    let rest = authority.get(&format!("/admin/audit?clientId=a&before={next}")).await.is(200);
    assert_eq!(rest["entries"].as_array().unwrap().len(), 1);
    for wrong in
        ["limit=0", "limit=1001", "track=http", "clientId=", "before=x", "track=x&clientId=a"]
    {
        let refused = authority.get(&format!("/admin/audit?{wrong}")).await;
        refused.refuses(400, "INVALID_OPTIONS");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_row_says_why_and_is_tried_again_when_asked() {
    let mesh = Mesh::new().await;
    let (authority, orders) =
        tokio::join!(authority(&mesh), async { mesh.receive_only("orders").await.ready().await });
    authority.knows(&["orders"]).await;
    authority.post("/admin/ensure", json!({"clientId": "a", "targets": ["orders"]})).await.is(201);
    let row = json!({"clientId": "a", "targetAmqpQueue": "orders"});
    authority.post("/admin/retry", row.clone()).await.refuses(409, "NOT_FAILED");
    let unknown = json!({"clientId": "a", "targetAmqpQueue": "nobody"});
    authority.post("/admin/retry", unknown).await.refuses(404, "UNKNOWN_ROW");
    // Its store refuses for good: the key has another type.
    orders.spec.redis.command::<()>(&["SET", "hmac:http:clients", "x"]).await.unwrap();
    authority.post("/admin/sync", json!({})).await.is(200);
    // It cannot sign, so the authority does not take its answer; as a receive-only one it does.
    let target = json!({
        "targetAmqpQueue": "orders", "propagationSecret": propagation_secret("orders"),
        "receiveOnly": true,
    });
    authority.post("/admin/targets", target).await.is(201);
    authority.post("/admin/rotate", json!({"clientId": "a"})).await.is(201);
    authority.post("/admin/sync", json!({})).await.is(200);
    let failed = authority.settled("a", "orders", "error").await;
    assert!(failed["failedAt"].is_u64() && failed["reason"].is_string(), "{failed}");
    let secret = authority.get("/secrets/a").await.is(200);
    assert_eq!(secret["state"], "failed", "{secret}");

    orders.spec.redis.command::<()>(&["DEL", "hmac:http:clients"]).await.unwrap();
    let retried = authority.post("/admin/retry", row).await.is(201);
    assert_eq!(retried["op"], "target.retry");
    authority.post("/admin/sync", json!({})).await.is(200);
    authority.settled("a", "orders", "success").await;
}
