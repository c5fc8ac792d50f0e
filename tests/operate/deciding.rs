//! ensure and revoke.

use serde_json::json;

use crate::world::{World, hash_of};

#[tokio::test]
async fn a_generated_secret_is_printed_once_and_every_target_holds_its_hash() {
    let world = World::new().await;
    for name in ["orders", "billing"] {
        world.add_target(name).await;
    }
    let (orders, billing) =
        (world.start_target("orders").await, world.start_target("billing").await);
    let arguments =
        ["ensure", "webshop", "--target", "orders", "--target", "billing", "--wait", "--json"];
    let ran = world.run(&arguments).await.ends_with(0);
    let document = ran.json();
    assert_eq!(document["clientId"], "webshop");
    assert_eq!(document["track"], "http");
    assert_eq!(document["op"], "create");
    assert_eq!((&document["complete"], &document["wait"]), (&json!(true), &json!("complete")));
    assert!(document["sync"]["targetsPublished"].is_u64(), "{document}");
    let targets = document["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 2);
    for target in targets {
        assert_eq!(target["status"], "success");
        assert_eq!(target["revision"], document["revision"]);
        assert!(target["appliedAt"].is_u64() && target["failedAt"].is_null(), "{target}");
    }
    let secret = document["secret"].as_str().unwrap();
    assert_eq!(secret.len(), 64);
    for target in [&orders, &billing] {
        assert_eq!(target.hash_of("webshop").await, Some(hash_of(secret)));
    }
    for later in [&["status", "webshop", "--json"][..], &["status"], &["audit", "--json"]] {
        let shown = world.run(later).await.ends_with(0);
        assert!(!shown.stdout.contains(secret) && !shown.stdout.contains(hash_of(secret).expose()));
    }
}

#[tokio::test]
async fn a_given_secret_is_taken_from_file_environment_or_standard_input_and_never_printed() {
    let mut world = World::new().await;
    world.add_target("orders").await;
    let orders = world.start_target("orders").await;
    let file = world.scratch.path().join("secret");
    std::fs::write(&file, "s3cret-from-file\n").unwrap();
    let wait = ["ensure", "webshop", "--target", "orders", "--wait"];
    let from_file = [&wait[..], &["--secret-file", file.to_str().unwrap()]].concat();
    let ran = world.run(&from_file).await.ends_with(0);
    assert!(ran.stdout.starts_with("create http:webshop, revision "), "{}", ran.stdout);
    assert_eq!(orders.hash_of("webshop").await, Some(hash_of("s3cret-from-file")));
    let ran =
        world.run_with(&[&wait[..], &["--secret-file", "-"]].concat(), b"s3cret-from-stdin").await;
    assert!(ran.ends_with(0).stdout.starts_with("update http:webshop"));
    assert_eq!(orders.hash_of("webshop").await, Some(hash_of("s3cret-from-stdin")));
    world.set("CLIENT_SECRET", "s3cret-from-environment");
    let ran = world.run(&[&wait[..], &["--json"]].concat()).await.ends_with(0);
    assert!(ran.json().get("secret").is_none());
    assert_eq!(orders.hash_of("webshop").await, Some(hash_of("s3cret-from-environment")));
}

#[tokio::test]
async fn what_a_credential_is_bound_to_is_set_and_shown() {
    let world = World::new().await;
    let arguments = [
        "ensure",
        "webshop",
        "--allow-ip",
        "10.0.0.0/8",
        "--expires",
        "2100-01-01T00:00:00Z",
        "--rotate-after",
        "30d",
        "--hide-secret",
        "--json",
    ];
    let ran = world.run(&arguments).await.ends_with(0);
    assert!(ran.json().get("secret").is_none());
    assert_eq!(ran.json()["targets"], json!([]));
    let shown = world.run(&["status", "webshop", "--json"]).await.ends_with(0).json();
    let credential = &shown["credentials"][0];
    assert_eq!(credential["allowedIps"], json!(["10.0.0.0/8"]));
    assert_eq!(credential["expiresAt"], 4_102_444_800_000_u64);
    assert_eq!(credential["rotateAfterMs"], 30 * 24 * 60 * 60 * 1000_u64);
    assert_eq!(
        (&credential["deleted"], &credential["standing"]),
        (&json!(false), &json!("complete"))
    );
    let arguments = [
        "ensure",
        "webshop",
        "--allow-any-ip",
        "--expires",
        "never",
        "--rotate-after",
        "never",
        "--hide-secret",
    ];
    world.run(&arguments).await.ends_with(0);
    let shown = world.run(&["status", "webshop", "--json"]).await.ends_with(0).json();
    let credential = &shown["credentials"][0];
    assert_eq!((&credential["allowedIps"], &credential["expiresAt"]), (&json!([]), &json!(null)));
    assert_eq!(credential["rotateAfterMs"], json!(null));
}

#[tokio::test]
async fn a_revoked_credential_is_gone_at_its_targets() {
    let world = World::new().await;
    world.add_target("orders").await;
    let orders = world.start_target("orders").await;
    world.run(&["ensure", "webshop", "--target", "orders", "--wait"]).await.ends_with(0);
    assert!(orders.hash_of("webshop").await.is_some());
    let ran = world.run(&["revoke", "webshop", "--wait", "--json"]).await.ends_with(0);
    assert_eq!((&ran.json()["op"], &ran.json()["wait"]), (&json!("revoke"), &json!("complete")));
    assert!(orders.hash_of("webshop").await.is_none());
    let shown = world.run(&["status", "webshop", "--json"]).await.ends_with(0).json();
    assert_eq!(shown["credentials"][0]["deleted"], true);
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_not_revoked_by_mistake() {
    let world = World::new().await;
    let ran = world.run(&["revoke", "webshpo"]).await.ends_with(4);
    assert!(ran.stderr.contains("there is no credential http:webshpo"), "{}", ran.stderr);
    world.add_target("orders").await;
    world.run(&["revoke", "webshpo", "--target", "orders"]).await.ends_with(0);
}

#[tokio::test]
async fn a_target_that_the_directory_does_not_have_is_refused_by_name() {
    let world = World::new().await;
    let ran = world.run(&["ensure", "webshop", "--target", "nobody"]).await.ends_with(2);
    assert!(ran.stderr.contains("nobody is not in it"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}
