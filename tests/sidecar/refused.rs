//! What a peer tells about messages that it refused.

use serde_json::{Value, json};

use crate::process::{Away, Mesh, SOON, propagation_secret};

#[tokio::test(flavor = "multi_thread")]
async fn refused_messages_are_listed_newest_first_without_secrets() {
    let mesh = Mesh::new().await;
    let orders = mesh.receive_only("orders").await.ready().await;
    assert_eq!(orders.get("/admin/refused").await.is(200), json!({"refused": []}));
    let queues = mesh.vhost.queues().await.unwrap();
    let hash = "ab".repeat(32);
    let wrong = json!({
        "eventId": "3f0c9f52-6d0e-4a54-9f8e-1f2f4c2d7b11", "ts": 1, "op": "credential.update",
        "propagationSecret": "wr0ng-s3cret", "senderAmqpQueue": "authority", "track": "http",
        "clientId": "webshop", "payload": {"secretHash": hash},
    });
    for (count, body) in ["not json", &wrong.to_string()].into_iter().enumerate() {
        queues.publish("hmac-orders.queue", body.as_bytes()).await.unwrap();
        hmac_propagator_support::eventually(SOON, || async {
            let listed = orders.get("/admin/refused").await.is(200);
            (listed["refused"].as_array().unwrap().len() == count + 1).then_some(())
        })
        .await;
    }
    let listed = orders.get("/admin/refused?limit=100").await.is(200);
    let [newest, oldest] = &listed["refused"].as_array().unwrap()[..] else {
        panic!("{listed}");
    };
    assert_eq!((&newest["reason"], &newest["number"]), (&json!("wrong_secret"), &json!(2)));
    assert_eq!(newest["senderAmqpQueue"], "authority");
    assert_eq!(newest["message"]["clientId"], "webshop");
    assert_eq!(newest["message"]["payload"]["secretHash"]["redacted"], "string of 64 characters");
    assert!(newest["at"].as_u64() >= oldest["at"].as_u64());
    assert_eq!((&oldest["reason"], &oldest["bytes"]), (&json!("malformed"), &json!(8)));
    assert_eq!((&oldest["message"], &oldest["senderAmqpQueue"]), (&Value::Null, &Value::Null));
    for secret in ["wr0ng-s3cret", &hash, &propagation_secret("orders")] {
        assert!(!listed.to_string().contains(secret), "{listed}");
    }
    let one = orders.get("/admin/refused?limit=1").await.is(200);
    assert_eq!(one["refused"], json!([newest]));
    for bad in ["limit=0", "limit=101", "limit=x", "most=1"] {
        orders.get(&format!("/admin/refused?{bad}")).await.refuses(400, "INVALID_OPTIONS");
    }
    let _away = Away::take(&orders.spec.redis).await;
    orders.get("/admin/refused").await.refuses(503, "STORE_UNAVAILABLE");
}
