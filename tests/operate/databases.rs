//! The same commands over each database.

use hmac_propagator_support::{SqlKind, SqlServer};
use serde_json::json;

use crate::world::{World, hash_of};

async fn decides_sends_waits_and_finds_nothing_wrong(kind: SqlKind) {
    let server = SqlServer::start(kind).await.unwrap();
    let database = server.database().await.unwrap();
    let mut world = World::new().await;
    world.set("DATABASE_URL", &database.url());
    world.add_target("orders").await;
    let orders = world.start_target("orders").await;
    let arguments =
        ["ensure", "webshop", "--target", "orders", "--rotate-after", "1h", "--wait", "--json"];
    let ensured = world.run(&arguments).await.ends_with(0).json();
    let rotated = world.run(&["rotate", "webshop", "--wait", "--json"]).await.ends_with(0).json();
    assert!(rotated["revision"].as_u64() > ensured["revision"].as_u64());
    let secret = rotated["secret"].as_str().unwrap();
    assert_eq!(orders.hash_of("webshop").await, Some(hash_of(secret)));
    let shown = world.run(&["status", "webshop", "--json"]).await.ends_with(0).json();
    assert_eq!(shown["credentials"][0]["standing"], "complete");
    assert_eq!(world.run(&["due", "--json"]).await.ends_with(0).json(), json!({ "due": [] }));
    world.run(&["audit", "--verify"]).await.ends_with(0);
    let _authority = world.start_authority().await;
    let document = world.run(&["doctor", "--json"]).await.ends_with(0).json();
    let clocks = document["findings"].as_array().unwrap().iter();
    let clocks: Vec<_> = clocks.filter(|finding| finding["check"] == "clock").collect();
    assert_eq!(clocks.len(), 2, "{document:#}");
}

#[tokio::test]
async fn postgres_serves_the_commands() {
    decides_sends_waits_and_finds_nothing_wrong(SqlKind::Postgres).await;
}

#[tokio::test]
async fn mariadb_serves_the_commands() {
    decides_sends_waits_and_finds_nothing_wrong(SqlKind::MariaDb).await;
}
