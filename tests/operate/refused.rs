//! Messages that the authority refused, seen from the command line.

use hmac_propagator_support::eventually;
use serde_json::{Value, json};

use crate::world::{SOON, World};

/// Puts a message into the authority's queue, which must refuse it.
async fn refused(world: &World, body: &str, count: usize) -> Value {
    let queues = world.vhost.queues().await.unwrap();
    queues.publish("hmac-authority.queue", body.as_bytes()).await.unwrap();
    eventually(SOON, || async {
        let document = world.run(&["refused", "--json"]).await.ends_with(0).json();
        (document["refused"].as_array().unwrap().len() == count).then_some(document)
    })
    .await
}

#[tokio::test]
async fn refused_messages_are_shown_newest_first_also_without_broker_and_database() {
    let mut world = World::new().await;
    let authority = world.start_authority().await;
    let none = world.run(&["refused", "--json"]).await.ends_with(0).json();
    assert_eq!(none, json!({"refused": []}));
    refused(&world, "s3cret that is no message", 1).await;
    let wrong = json!({
        "eventId": "3f0c9f52-6d0e-4a54-9f8e-1f2f4c2d7b11", "ts": 1, "op": "credential.update",
        "propagationSecret": "s3cret-but-wrong", "senderAmqpQueue": "orders", "track": "http",
        "clientId": "webshop", "payload": {"secretHash": "s3cret"},
    });
    let document = refused(&world, &wrong.to_string(), 2).await;
    let newest = &document["refused"][0];
    assert_eq!((&newest["reason"], &newest["number"]), (&json!("wrong_secret"), &json!(2)));
    assert_eq!(
        (&newest["senderAmqpQueue"], &newest["message"]["clientId"]),
        (&json!("orders"), &json!("webshop"))
    );
    assert_eq!(document["refused"][1]["message"], Value::Null);
    authority.close().await;
    world.environment.remove("DATABASE_URL");
    world.set("AMQP_PORT", World::nowhere().rsplit(':').next().unwrap());
    let table = world.run(&["refused", "--limit", "1"]).await.ends_with(0).stdout;
    assert!(table.contains("wrong_secret") && !table.contains("malformed"), "{table}");
    world.redis.kill().await.unwrap();
    world.run(&["refused"]).await.ends_with(3);
}

#[tokio::test]
async fn doctor_names_what_was_refused_in_the_last_hour() {
    let world = World::new().await;
    let _authority = world.start_authority().await;
    let line = |document: &Value| {
        let findings = document["findings"].as_array().unwrap().iter();
        findings.filter(|finding| finding["check"] == "refused").cloned().collect::<Vec<_>>()
    };
    let document = world.run(&["doctor", "--json"]).await.ends_with(0).json();
    assert!(line(&document).is_empty(), "{document:#}");
    for count in 1..=2 {
        refused(&world, "no message", count).await;
    }
    let document = world.run(&["doctor", "--json"]).await.ends_with(1).json();
    let found = line(&document);
    assert_eq!(found.len(), 1, "{document:#}");
    assert_eq!(
        (&found[0]["state"], &found[0]["what"]),
        (&json!("wrong"), &json!("in the last hour: malformed 2"))
    );
    assert!(found[0]["advice"].as_str().unwrap().contains("propagator refused"), "{document:#}");
}
