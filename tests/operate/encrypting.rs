//! encrypt: a first key, and the change of a key.

use sqlx::{Connection, Row};

use crate::world::World;

/// What stands in the secret columns.
async fn stored(world: &World) -> Vec<String> {
    let mut connection =
        sqlx::SqliteConnection::connect(&world.environment["DATABASE_URL"]).await.unwrap();
    let sql = "SELECT secret_hash FROM hmac_credentials WHERE secret_hash IS NOT NULL \
        UNION ALL SELECT propagation_secret FROM hmac_propagation_targets";
    let rows = sqlx::raw_sql(sql).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| row.get_unchecked(0)).collect()
}

#[tokio::test]
async fn a_database_in_use_gets_its_first_key_and_then_another_one() {
    let mut world = World::new().await;
    let ran = world.run(&["encrypt"]).await.ends_with(2);
    assert!(ran.stderr.contains("DATABASE_KEY or DATABASE_PASSPHRASE"), "{}", ran.stderr);
    world.add_target("orders").await;
    let orders = world.start_target("orders").await;
    let ensure = ["ensure", "webshop", "--target", "orders", "--wait"];
    world.run(&ensure).await.ends_with(0);
    assert!(stored(&world).await.iter().all(|value| value.starts_with("plain:")));

    world.set("DATABASE_KEY", &"0f".repeat(32));
    let encrypted = world.run(&["encrypt", "--json"]).await.ends_with(0).json();
    assert_eq!(encrypted["values"], 2);
    let values = stored(&world).await;
    assert!(values.len() == 2 && values.iter().all(|value| value.starts_with("aes256gcm:")));
    world.run(&["rotate", "webshop", "--wait"]).await.ends_with(0);

    // The key before is needed until the data keys are under the new one.
    world.set("DATABASE_KEY", &"1e".repeat(32));
    world.set("DATABASE_KEY_ID", "second");
    world.run(&["status"]).await.ends_with(2);
    world.set("DATABASE_OLD_KEY", &"0f".repeat(32));
    world.set("DATABASE_OLD_KEY_ID", "database-key");
    let ran = world.run(&["encrypt", "--keys-only", "--json"]).await.ends_with(0).json();
    assert_eq!(ran["values"], 0);
    assert!(ran["dataKeys"].as_u64().unwrap() >= 1, "{ran}");
    world.environment.remove("DATABASE_OLD_KEY");
    world.environment.remove("DATABASE_OLD_KEY_ID");
    world.run(&["rotate", "webshop", "--wait"]).await.ends_with(0);
    assert!(orders.hash_of("webshop").await.is_some());
}
