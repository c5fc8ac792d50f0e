//! rotate and due.

use hmac_propagator_support::eventually;
use serde_json::json;

use crate::world::{SOON, World, hash_of};

#[tokio::test]
async fn a_rotated_secret_arrives_at_the_targets_of_the_credential() {
    let world = World::new().await;
    world.add_target("orders").await;
    let orders = world.start_target("orders").await;
    world.run(&["ensure", "webshop", "--target", "orders", "--wait"]).await.ends_with(0);
    let ran = world
        .run(&["rotate", "webshop", "--secret-bytes", "16", "--wait", "--json"])
        .await
        .ends_with(0);
    let secret = ran.json()["secret"].as_str().unwrap().to_owned();
    assert_eq!(secret.len(), 32);
    assert_eq!(orders.hash_of("webshop").await, Some(hash_of(&secret)));
}

#[tokio::test]
async fn an_unknown_client_is_not_rotated() {
    let world = World::new().await;
    let ran = world.run(&["rotate", "nobody"]).await.ends_with(4);
    assert_eq!(ran.stdout, "");
    world.run(&["status", "nobody"]).await.ends_with(4);
}

#[tokio::test]
async fn all_that_are_due_are_rotated_once_and_the_alert_ends() {
    let world = World::new().await;
    for client in ["a", "b"] {
        world
            .run(&["ensure", client, "--rotate-after", "500ms", "--hide-secret"])
            .await
            .ends_with(0);
    }
    world.run(&["ensure", "c", "--rotate-after", "30d", "--hide-secret"]).await.ends_with(0);
    let due = || async {
        let document = world.run(&["due", "--json"]).await.ends_with(0).json();
        (document["due"].as_array().unwrap().len() == 2).then_some(document)
    };
    let due = eventually(SOON, due).await;
    assert!(due["due"][0]["overdueMs"].is_u64() && due["due"][0]["dueAt"].is_u64(), "{due}");
    let ran = world.run(&["due", "--overdue"]).await.ends_with(1);
    assert!(ran.stdout.contains("http:a") && !ran.stdout.contains("http:c"), "{}", ran.stdout);
    world.run(&["due", "--overdue", "1h"]).await.ends_with(0);
    let ran = world.run(&["rotate", "--all-due", "--json"]).await.ends_with(0).json();
    let rotated = ran["rotated"].as_array().unwrap();
    assert!(rotated.len() >= 2, "{ran}");
    assert!(rotated.iter().all(|one| one["secret"].as_str().unwrap().len() == 64));
    assert_eq!((&ran["failed"], &ran["complete"]), (&json!([]), &json!(true)));
    let shown = world.run(&["status", "a", "--json"]).await.ends_with(0).json();
    assert!(shown["credentials"][0]["nextRotationAt"].as_u64() > due["due"][0]["dueAt"].as_u64());
}
