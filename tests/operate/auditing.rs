//! audit.

use serde_json::json;
use sqlx::Connection;

use crate::world::World;

#[tokio::test]
async fn the_audit_names_the_person_and_is_followed_from_its_start() {
    let world = World::new().await;
    world.add_target("orders").await;
    world.run(&["ensure", "webshop"]).await.ends_with(0);
    let entries = world.run(&["audit", "--json"]).await.ends_with(0).json();
    let entries = entries["entries"].as_array().unwrap();
    let of = |action: &str| entries.iter().find(|entry| entry["action"] == action).unwrap().clone();
    assert_eq!(of("ensure")["actor"], "cli:op");
    assert_eq!(
        (&of("ensure")["clientId"], &of("ensure")["track"]),
        (&json!("webshop"), &json!("http"))
    );
    assert_eq!(of("target_added")["targetAmqpQueue"], "orders");
    let newest = entries[0]["seq"].as_u64().unwrap();
    let page =
        world.run(&["audit", "--before", &newest.to_string(), "--limit", "1", "--json"]).await;
    assert_eq!(page.ends_with(0).json()["entries"][0]["seq"], newest - 1);
    let only = world.run(&["audit", "webshop", "--json"]).await.ends_with(0).json();
    assert!(only["entries"].as_array().unwrap().iter().all(|entry| entry["clientId"] == "webshop"));
    let intact = world.run(&["audit", "--verify", "--json"]).await.ends_with(0).json();
    assert_eq!((&intact["intact"], &intact["seq"]), (&json!(true), &json!(newest)));
    let known = format!("{newest}:{}", intact["hash"].as_str().unwrap());
    world.run(&["audit", "--verify", "--known", &known]).await.ends_with(0);
    let other = format!("{newest}:{}", "0".repeat(64));
    world.run(&["audit", "--verify", "--known", &other]).await.ends_with(1);
}

#[tokio::test]
async fn an_entry_that_was_changed_is_found() {
    let world = World::new().await;
    world.run(&["ensure", "webshop"]).await.ends_with(0);
    let mut connection =
        sqlx::SqliteConnection::connect(&world.environment["DATABASE_URL"]).await.unwrap();
    let sql =
        "UPDATE hmac_propagation_audit SET actor = 'cli:somebody-else' WHERE action = 'ensure'";
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    let ran = world.run(&["audit", "--verify", "--json"]).await.ends_with(1);
    assert_eq!((&ran.json()["intact"], &ran.json()["reason"]), (&json!(false), &json!("changed")));
}
