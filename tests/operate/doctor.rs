//! doctor, on each thing that can be broken.

use hmac_propagator_support::eventually;
use serde_json::Value;

use crate::world::{Ran, SOON, World};

/// The only finding of a check, about whatever.
#[track_caller]
fn finding<'a>(document: &'a Value, check: &str) -> &'a Value {
    let all = document["findings"].as_array().unwrap();
    let found: Vec<&Value> = all.iter().filter(|finding| finding["check"] == check).collect();
    assert_eq!(found.len(), 1, "{check}: {document:#}");
    found[0]
}

/// Which checks found something wrong, in order. Each says what, and what to do.
fn wrong(document: &Value) -> Vec<String> {
    let all = document["findings"].as_array().unwrap().iter();
    let wrong = all.filter(|finding| finding["state"] == "wrong");
    wrong
        .map(|finding| {
            assert!(!finding["what"].as_str().unwrap().is_empty());
            assert!(!finding["advice"].as_str().unwrap().is_empty());
            finding["check"].as_str().unwrap().to_owned()
        })
        .collect()
}

async fn doctor(world: &World) -> Ran {
    world.run(&["doctor", "--json"]).await
}

/// Looks until a check finds this to be wrong. A row counts as under way for some seconds.
async fn doctor_until(world: &World, check: &str, what: &str) -> Value {
    eventually(SOON, || async {
        let document = doctor(world).await.json();
        let found = document["findings"].as_array().unwrap().iter().any(|finding| {
            finding["check"] == check
                && finding["state"] == "wrong"
                && finding["what"].as_str().unwrap().contains(what)
        });
        found.then_some(document)
    })
    .await
}

#[tokio::test]
async fn a_mesh_in_order_is_healthy() {
    let world = World::new().await;
    world.add_target("orders").await;
    let _authority = world.start_authority().await;
    let _orders = world.start_target("orders").await;
    world.run(&["ensure", "webshop", "--target", "orders", "--wait"]).await.ends_with(0);
    let document = doctor(&world).await.ends_with(0).json();
    assert_eq!(document["healthy"], true);
    assert!(wrong(&document).is_empty(), "{document:#}");
    for check in [
        "redis",
        "redis-write",
        "database",
        "broker",
        "broker-permission",
        "own-queue",
        "target-secret",
        "target-queue",
        "rows",
    ] {
        assert_eq!(finding(&document, check)["state"], "ok", "{check}");
    }
    let table = world.run(&["doctor"]).await.ends_with(0);
    assert!(table.stdout.contains("every target holds what it should"), "{}", table.stdout);
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_missing_vhost_and_from_a_broker_that_is_away() {
    let mut world = World::new().await;
    let before = world.environment.clone();
    world.set("AMQP_PASSWORD", "s3cret-but-wrong");
    let document = doctor(&world).await.ends_with(1).json();
    assert_eq!(wrong(&document), ["broker-login"]);
    world.environment = before.clone();
    world.set("AMQP_VHOST", "no-such-vhost");
    let document = doctor(&world).await.ends_with(1).json();
    assert_eq!(wrong(&document), ["broker-vhost"]);
    let advice = finding(&document, "broker-vhost")["advice"].as_str().unwrap();
    assert!(advice.contains("rabbitmqctl add_vhost no-such-vhost"), "{advice}");
    world.environment = before;
    world.set("AMQP_PORT", World::nowhere().rsplit(':').next().unwrap());
    let document = doctor(&world).await.ends_with(1).json();
    assert_eq!(wrong(&document), ["broker"]);
}

#[tokio::test]
async fn a_user_without_permissions_is_told_which_it_lacks() {
    let mut world = World::new().await;
    let queues = world.vhost.queues().await.unwrap();
    queues.declare("hmac-authority.queue").await.unwrap();
    let (user, vhost) = (format!("poor-{}", world.vhost.name()), world.vhost.name().to_owned());
    world.broker.rabbitmqctl(&["add_user", &user, "s3cret-of-poor"]).await.unwrap();
    world.set("AMQP_USER", &user);
    world.set("AMQP_PASSWORD", "s3cret-of-poor");
    let document = doctor(&world).await.ends_with(1).json();
    assert_eq!(wrong(&document), ["broker-vhost"]);
    let permissions = ["set_permissions", "-p", &vhost, &user, "", "", ""];
    world.broker.rabbitmqctl(&permissions).await.unwrap();
    let document = doctor(&world).await.ends_with(1).json();
    assert_eq!(
        wrong(&document),
        ["broker-permission", "broker-permission", "own-queue"],
        "{document:#}"
    );
    // Those of docs/operations.md for a peer that decides.
    let (configure, write, read) =
        (r"^hmac-[A-Za-z0-9-]+\.queue$", r"^amq\.default$", r"^hmac-authority\.queue$");
    let permissions = ["set_permissions", "-p", &vhost, &user, configure, write, read];
    world.broker.rabbitmqctl(&permissions).await.unwrap();
    let document = doctor(&world).await.ends_with(1).json();
    assert_eq!(wrong(&document), ["own-queue"], "{document:#}");
    world.broker.rabbitmqctl(&["delete_user", &user]).await.unwrap();
}

#[tokio::test]
async fn a_row_that_waits_for_a_peer_that_is_down_says_so() {
    let world = World::new().await;
    world.add_target("orders").await;
    let _authority = world.start_authority().await;
    world.run(&["ensure", "webshop", "--target", "orders"]).await.ends_with(0);
    let document = doctor(&world).await.ends_with(1).json();
    assert_eq!(wrong(&document), ["target-queue", "row"], "{document:#}");
    let row = finding(&document, "row");
    assert_eq!(row["subject"], "http:webshop at orders");
    let (said, waiting) = row["what"].as_str().unwrap().rsplit_once(": ").unwrap();
    assert!(said.ends_with("nobody consumes the queue; messages waiting"), "{row}");
    // The event, and what each process of the authority tells of its own store if the queue is there in time.
    assert!((1..=3).contains(&waiting.parse::<u32>().unwrap()), "{row}");
    let other = world.run(&["doctor", "another-client", "--json"]).await.ends_with(1).json();
    assert_eq!(wrong(&other), ["target-queue"]);
}

#[tokio::test]
async fn a_decision_that_nobody_sends_says_so() {
    let mut world = World::new().await;
    world.add_target("orders").await;
    let port = world.environment["AMQP_PORT"].clone();
    world.set("AMQP_PORT", World::nowhere().rsplit(':').next().unwrap());
    world.run(&["ensure", "webshop", "--target", "orders"]).await.ends_with(3);
    let document = doctor(&world).await.ends_with(1).json();
    assert_eq!(wrong(&document), ["broker", "row"], "{document:#}");
    world.set("AMQP_PORT", &port);
    let document = doctor(&world).await.ends_with(1).json();
    assert_eq!(wrong(&document), ["own-queue", "target-queue", "row"], "{document:#}");
    let row = finding(&document, "row");
    assert!(row["advice"].as_str().unwrap().contains("propagator sync"), "{row}");
}

#[tokio::test]
async fn a_peer_with_another_secret_than_the_directory_has_is_suspected() {
    let world = World::new().await;
    world.add_target("orders").await;
    let _authority = world.start_authority().await;
    let _orders = world.start_target_with("orders", "s3cret-of-its-own").await;
    world.run(&["ensure", "webshop", "--target", "orders"]).await.ends_with(0);
    let document = doctor_until(&world, "row", "orders took it and has not answered").await;
    assert_eq!(wrong(&document), ["row"]);
    let advice = finding(&document, "row")["advice"].as_str().unwrap();
    assert!(advice.contains("propagator targets change orders --secret-file"), "{advice}");
}

#[tokio::test]
async fn a_queue_with_other_properties_shows_in_the_last_error_of_its_row() {
    let world = World::new().await;
    world.add_target("orders").await;
    let queues = world.vhost.queues().await.unwrap();
    let mut arguments = hmac_propagator_support::lapin::types::FieldTable::default();
    arguments.insert("x-max-length".into(), 7.into());
    queues.declare_with("hmac-orders.queue", arguments).await.unwrap();
    world.run(&["ensure", "webshop", "--target", "orders"]).await.ends_with(0);
    let document = doctor_until(&world, "row", "next in").await;
    let row = finding(&document, "row");
    assert!(row["what"].as_str().unwrap().contains("PRECONDITION_FAILED"), "{row}");
}

#[tokio::test]
async fn a_redis_that_is_read_only_or_away_is_told() {
    let world = World::new().await;
    let _authority = world.start_authority().await;
    world.redis.set_read_only(true).await.unwrap();
    let document = doctor(&world).await.ends_with(1).json();
    assert_eq!(wrong(&document), ["redis-write"], "{document:#}");
    world.redis.kill().await.unwrap();
    let document = doctor(&world).await.ends_with(1).json();
    assert_eq!(wrong(&document), ["redis"], "{document:#}");
}

#[tokio::test]
async fn a_database_that_is_away_does_not_hide_the_rest() {
    let mut world = World::new().await;
    let _authority = world.start_authority().await;
    world.set("DATABASE_URL", &format!("postgres://user:s3cret@{}/mesh", World::nowhere()));
    let document = doctor(&world).await.ends_with(1).json();
    assert_eq!(wrong(&document), ["database"], "{document:#}");
    assert_eq!(finding(&document, "broker")["state"], "ok");
}

#[tokio::test]
async fn a_receive_only_peer_has_no_rows_and_everything_else() {
    let mut world = World::new().await;
    world.environment.remove("DATABASE_URL");
    let document = doctor(&world).await.ends_with(1).json();
    assert_eq!(wrong(&document), ["own-queue"], "{document:#}");
    assert_eq!(finding(&document, "database")["state"], "skipped");
}

#[tokio::test]
async fn a_target_secret_that_cannot_be_read_is_told() {
    let mut world = World::new().await;
    world.set("DATABASE_KEY", &"0f".repeat(32));
    world.add_target("orders").await;
    let _queue = world.vhost.queues().await.unwrap();
    let mut connection =
        <sqlx::SqliteConnection as sqlx::Connection>::connect(&world.environment["DATABASE_URL"])
            .await
            .unwrap();
    let sql = "UPDATE hmac_propagation_targets SET propagation_secret = substr(propagation_secret, 1, length(propagation_secret) - 4) || 'AAAA'";
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    let document = doctor(&world).await.ends_with(1).json();
    assert!(wrong(&document).contains(&"target-secret".to_owned()), "{document:#}");
}
