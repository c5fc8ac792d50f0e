//! No secret in anything that a peer says or answers.

use serde_json::{Value, json};

use crate::process::{Away, Mesh, Peer, TOKEN, propagation_secret};

const CHOSEN: [&str; 3] = ["ch0sen-s3cret-one", "ch0sen-s3cret-two", "wr0ng-s3cret-three"];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_logged_or_answered_shows_a_secret() {
    let mesh = Mesh::new().await;
    let loud = |spec: crate::process::Spec| spec.set("LOG", "trace");
    let orders = loud(mesh.receive_only("orders").await);
    let orders = orders.set("LOG_FORMAT", "json").ready().await;
    let spec = loud(mesh.full("authority").await).set("CALL_TARGET_ORIGINS", &orders.url);
    let mut authority = spec.ready().await;
    let target = json!({
        "targetAmqpQueue": "orders", "propagationSecret": propagation_secret("orders"),
        "receiveOnly": true,
    });
    authority.post("/admin/targets", target).await.is(201);
    let mut answers = Vec::new();
    let mut hashes = Vec::new();
    let ensure = json!({"clientId": "webshop", "secret": CHOSEN[0], "targets": ["orders"]});
    answers.push(authority.post("/admin/ensure", ensure).await.is(201));
    hashes.extend(authority.hash("webshop").await);
    answers.push(authority.post("/admin/sync", json!({})).await.is(200));
    authority.settled("webshop", "orders", "success").await;
    let rotate = json!({"clientId": "webshop", "secret": CHOSEN[1]});
    answers.push(authority.post("/admin/rotate", rotate).await.is(201));
    hashes.extend(authority.hash("webshop").await);
    let made = authority.post("/admin/ensure", json!({"clientId": "made"})).await.is(201);
    let made = made["secret"].as_str().unwrap().to_owned();
    answers.push(
        authority.post("/rotate", json!({"secretName": "webshop", "force": true})).await.is(200),
    );
    for secret in [Some(CHOSEN[1]), Some(CHOSEN[2]), None] {
        let call = json!({"target": orders.url, "clientId": "webshop", "secret": secret});
        answers.push(authority.post("/admin/call-target", call).await.is(201));
    }
    answers.push(
        authority
            .post("/admin/ensure", json!({"clientId": "x", "secret": {"k": CHOSEN[2]}}))
            .await
            .is(400),
    );
    for path in [
        "/admin/state",
        "/admin/audit",
        "/admin/due",
        "/secrets/webshop",
        "/health/ready",
        "/openapi.json",
    ] {
        answers.push(authority.get(path).await.is(200));
        answers.push(orders.get(path).await.body);
    }
    answers.extend(kept_refusals(&mesh, &authority, &hashes[0]).await);
    let _away = Away::take(&authority.spec.redis).await;
    answers.push(authority.post("/admin/rotate", json!({"clientId": "webshop"})).await.is(503));
    authority.signal("-TERM");
    assert_eq!(authority.ended().await, Some(0));

    let password = authority.spec.environment["AMQP_PASSWORD"].clone();
    let mut secrets: Vec<String> = CHOSEN.iter().map(|secret| (*secret).to_owned()).collect();
    secrets.extend([made, password, TOKEN.to_owned()]);
    for name in ["authority", "orders"] {
        secrets.extend([propagation_secret(name), format!("pepper-of-{name}")]);
    }
    secrets.extend(hashes);
    let answered = Value::from(answers).to_string();
    for secret in &secrets {
        let bytes = format!("{:?}", secret.as_bytes());
        let bytes = bytes.trim_matches(['[', ']']);
        for (place, text) in [
            ("answers", &answered),
            ("authority", &authority.said.text()),
            ("orders", &orders.said.text()),
        ] {
            let at = text.find(secret.as_str()).or_else(|| text.find(bytes));
            let around: String = text[at.unwrap_or(0)..].chars().take(200).collect();
            assert!(at.is_none(), "{place} shows `{secret}`: {around}");
        }
    }
    // The log was written indeed.
    assert!(authority.said.text().contains("TRACE") && orders.said.text().contains("\"TRACE\""));
}

/// A message with every secret in every place that it can stand in is kept, and shows none. Returns what is
/// answered about it.
async fn kept_refusals(mesh: &Mesh, authority: &Peer, hash: &str) -> [Value; 2] {
    let own = propagation_secret("authority");
    let everywhere = json!({
        "eventId": own, "ts": 1, "propagationSecret": CHOSEN[2], "senderAmqpQueue": own,
        "op": CHOSEN[2], "track": own, "clientId": own, "ackEventId": hash, "ackReason": own,
        "payload": {"secretHash": hash, "allowedIps": [own], hash: own}, &own: own,
    });
    let queues = mesh.vhost.queues().await.unwrap();
    queues.publish("hmac-authority.queue", everywhere.to_string().as_bytes()).await.unwrap();
    queues.publish("hmac-authority.queue", own.as_bytes()).await.unwrap();
    let refused = hmac_propagator_support::eventually(crate::process::SOON, || async {
        let listed = authority.get("/admin/refused").await.is(200);
        (listed["refused"].as_array().unwrap().len() == 2).then_some(listed)
    });
    [refused.await, authority.get("/page/refused").await.is(200)]
}
