//! The directory, and single rows.

use serde_json::json;

use crate::world::{World, secret_of};

#[tokio::test]
async fn a_peer_is_added_listed_changed_and_dropped() {
    let mut world = World::new().await;
    world.set("TARGET_SECRET", &secret_of("orders"));
    let added = world.run(&["targets", "add", "orders", "--note", "ask Ann", "--json"]).await;
    assert_eq!(
        added.ends_with(0).json(),
        json!({ "op": "target.create", "targetAmqpQueue": "orders" })
    );
    world.environment.remove("TARGET_SECRET");
    let changed =
        world.run(&["targets", "change", "orders", "--receive-only", "true", "--json"]).await;
    assert_eq!(changed.ends_with(0).json()["op"], "target.update");
    let listed = world.run(&["targets", "list", "--json"]).await.ends_with(0).json();
    let target = &listed["targets"][0];
    assert_eq!(
        (&target["targetAmqpQueue"], &target["note"]),
        (&json!("orders"), &json!("ask Ann"))
    );
    assert_eq!((&target["receiveOnly"], &target["credentials"]), (&json!(true), &json!(0)));
    let table = world.run(&["targets", "list"]).await.ends_with(0);
    assert!(table.stdout.lines().nth(1).unwrap().starts_with("orders"), "{}", table.stdout);
    let dropped = world.run(&["targets", "drop", "orders", "--json"]).await;
    assert_eq!(dropped.ends_with(0).json()["op"], "target.delete");
    let listed = world.run(&["targets", "list", "--json"]).await.ends_with(0).json();
    assert_eq!(listed, json!({ "targets": [] }));
}

#[tokio::test]
async fn what_the_directory_does_not_allow_is_told_from_what_it_does_not_have() {
    let world = World::new().await;
    world.add_target("orders").await;
    let secret = secret_of("orders");
    let again =
        world.run_with(&["targets", "add", "orders", "--secret-file", "-"], secret.as_bytes());
    assert!(again.await.ends_with(5).stderr.contains("in the directory already"));
    let own =
        world.run_with(&["targets", "add", "authority", "--secret-file", "-"], secret.as_bytes());
    assert!(own.await.ends_with(5).stderr.contains("own queue"));
    world.run(&["ensure", "webshop", "--target", "orders"]).await.ends_with(0);
    let used = world.run(&["targets", "drop", "orders"]).await.ends_with(5);
    assert!(used.stderr.contains("http:webshop"), "{}", used.stderr);
    world.run(&["targets", "drop", "nobody"]).await.ends_with(4);
    world.run(&["targets", "resend", "nobody"]).await.ends_with(4);
    world.run(&["targets", "change", "nobody", "--note", "x"]).await.ends_with(4);
    let missing = world.run(&["targets", "add", "billing"]).await.ends_with(2);
    assert!(missing.stderr.contains("--secret-file or TARGET_SECRET"), "{}", missing.stderr);
    world.run(&["targets", "change", "orders"]).await.ends_with(2);
    world.run(&["targets", "add", "no such name", "--secret-file", "-"]).await.ends_with(2);
}

#[tokio::test]
async fn a_row_of_a_peer_that_is_gone_is_given_up() {
    let world = World::new().await;
    world.add_target("orders").await;
    world.run(&["ensure", "webshop", "--target", "orders"]).await.ends_with(0);
    // It has not failed.
    world.run(&["targets", "retry", "webshop", "orders"]).await.ends_with(5);
    let detached =
        world.run(&["targets", "detach", "webshop", "orders", "--json"]).await.ends_with(0);
    assert_eq!(detached.json()["op"], "target.detach");
    world.run(&["targets", "detach", "webshop", "orders"]).await.ends_with(4);
    world.run(&["targets", "drop", "orders"]).await.ends_with(0);
}

#[tokio::test]
async fn a_peer_that_cannot_say_what_it_lost_is_asked_again() {
    let world = World::new().await;
    world.add_target("orders").await;
    let orders = world.start_target("orders").await;
    world.run(&["ensure", "webshop", "--target", "orders", "--wait"]).await.ends_with(0);
    world.run(&["sync", "--wait"]).await.ends_with(0);
    orders.close().await;
    let standing = || async {
        let status = world.run(&["status", "webshop", "--json"]).await.ends_with(0).json();
        status["credentials"][0]["targets"][0]["status"].clone()
    };
    assert_eq!(standing().await, "success");
    let asked = world.run(&["targets", "resend", "orders", "--json"]).await.ends_with(0).json();
    assert_eq!(asked, json!({ "op": "target.resend", "targetAmqpQueue": "orders" }));
    world.run(&["sync"]).await.ends_with(0);
    assert_eq!(standing().await, "sent");
    let orders = world.start_target("orders").await;
    world.run(&["sync", "--wait"]).await.ends_with(0);
    assert_eq!(standing().await, "success");
    assert!(orders.hash_of("webshop").await.is_some());
}
