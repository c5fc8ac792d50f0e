//! What happens until all targets have answered, and when they do not.

use hmac_propagator_support::eventually;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::world::{SOON, World};

#[tokio::test]
async fn who_has_not_answered_is_named_and_a_later_sync_completes_it() {
    let world = World::new().await;
    for name in ["orders", "billing"] {
        world.add_target(name).await;
    }
    let _orders = world.start_target("orders").await;
    let arguments = [
        "ensure",
        "webshop",
        "--target",
        "orders",
        "--target",
        "billing",
        "--wait",
        "--timeout",
        "3s",
        "--json",
    ];
    let ran = world.run(&arguments).await.ends_with(1);
    assert!(ran.stderr.ends_with("propagator: no answer in time from billing\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("have answered; waiting for billing"), "{}", ran.stderr);
    let document = ran.json();
    assert_eq!((&document["complete"], &document["wait"]), (&json!(false), &json!("timeout")));
    let billing = world.start_target("billing").await;
    // The event waits in the queue; it is not sent again.
    let ran = world.run(&["sync", "--wait", "--json"]).await.ends_with(0);
    assert_eq!(ran.json()["wait"], "complete");
    assert!(billing.hash_of("webshop").await.is_some());
}

#[tokio::test]
async fn answers_that_a_running_service_takes_are_seen_too() {
    let world = World::new().await;
    world.add_target("orders").await;
    let authority = world.start_authority().await;
    let orders = world.start_target("orders").await;
    for _ in 0..3 {
        world.run(&["ensure", "webshop", "--target", "orders", "--wait"]).await.ends_with(0);
    }
    assert!(orders.hash_of("webshop").await.is_some());
    authority.close().await;
}

#[tokio::test]
async fn a_broker_that_is_away_leaves_a_decision_that_is_shown_and_sent_later() {
    let mut world = World::new().await;
    world.add_target("orders").await;
    let (port, password) = (world.environment["AMQP_PORT"].clone(), "AMQP_PORT");
    world.set(password, World::nowhere().rsplit(':').next().unwrap());
    let ran = world.run(&["ensure", "webshop", "--target", "orders", "--json"]).await.ends_with(3);
    assert!(ran.stderr.contains("cannot reach the broker"), "{}", ran.stderr);
    let document = ran.json();
    assert_eq!(document["secret"].as_str().unwrap().len(), 64);
    assert!(document["sync"]["error"].is_string() && document["wait"].is_null());
    assert_eq!(document["targets"][0]["status"], "pending");
    world.set("AMQP_PORT", &port);
    let orders = world.start_target("orders").await;
    let ran = world.run(&["sync"]).await.ends_with(0);
    assert_eq!(ran.stdout.lines().next(), Some("sent 1"));
    eventually(SOON, || async { orders.hash_of("webshop").await.map(drop) }).await;
}

#[tokio::test]
async fn an_interrupt_ends_the_wait_and_loses_no_generated_secret() {
    let world = World::new().await;
    world.add_target("orders").await;
    for (signal, json) in [("-INT", true), ("-TERM", false)] {
        let mut arguments = vec!["ensure", "webshop", "--target", "orders", "--wait"];
        arguments.extend(json.then_some("--json"));
        let mut child = world.spawn(&arguments);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = tokio::time::timeout(SOON, lines.next_line()).await.unwrap().unwrap().unwrap();
        assert!(line.ends_with("0 of 1 have answered; waiting for orders"), "{line}");
        let pid = child.id().unwrap().to_string();
        std::process::Command::new("kill").args([signal, &pid]).status().unwrap();
        let ran = world.finish(child).await.ends_with(130);
        if json {
            let document: Value = ran.json();
            assert_eq!(document["wait"], "interrupted");
            assert_eq!(document["secret"].as_str().unwrap().len(), 64);
        } else {
            assert!(ran.stdout.contains("secret (shown this once): "), "{}", ran.stdout);
        }
    }
}

#[tokio::test]
async fn a_refusal_ends_the_wait_and_is_sent_again_when_asked_for() {
    let world = World::new().await;
    world.add_target("orders").await;
    // It serves requests only.
    let _orders = world.start_target("orders").await;
    let arguments =
        ["ensure", "chat", "--track", "message", "--target", "orders", "--wait", "--json"];
    let ran = world.run(&arguments).await.ends_with(1);
    assert!(ran.stderr.contains("not held by orders"), "{}", ran.stderr);
    assert_eq!(ran.json()["wait"], "failed");
    let target = &ran.json()["targets"][0];
    assert_eq!((&target["status"], &target["retryAt"]), (&json!("error"), &json!(null)));
    assert!(target["reason"].is_string() && target["failedAt"].is_u64(), "{target}");
    let doctor = world.run(&["doctor", "--json"]).await.ends_with(1).json();
    let row = doctor["findings"].as_array().unwrap().iter().find(|f| f["check"] == "row").unwrap();
    assert!(row["what"].as_str().unwrap().starts_with("failed for good: "), "{row}");
    let advice = row["advice"].as_str().unwrap();
    assert!(advice.ends_with("targets retry --track message chat orders"), "{advice}");
    let open = world.run(&["status", "--open", "--json"]).await.ends_with(0).json();
    assert_eq!(open["credentials"][0]["standing"], "failed");
    world.run(&["targets", "retry", "--track", "message", "chat", "orders"]).await.ends_with(0);
    let open = world.run(&["status", "chat", "--json"]).await.ends_with(0).json();
    assert_eq!(open["credentials"][0]["standing"], "open");
}

#[tokio::test]
async fn a_decision_that_is_overtaken_while_it_waits_is_told() {
    let world = World::new().await;
    world.add_target("orders").await;
    let mut child = world.spawn(&["ensure", "webshop", "--target", "orders", "--wait"]);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    tokio::time::timeout(SOON, lines.next_line()).await.unwrap().unwrap().unwrap();
    world.run(&["rotate", "webshop"]).await.ends_with(0);
    world.finish(child).await.ends_with(1);
}
