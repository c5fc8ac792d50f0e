//! Configuration, help, and what cannot be reached.

use crate::world::World;

#[tokio::test]
async fn a_configuration_that_is_not_usable_is_told_whole_and_ends_with_2() {
    let mut world = World::new().await;
    world.environment.remove("AMQP_QUEUE");
    world.set("AMQP_PORT", "abc");
    let ran = world.run(&["status"]).await.ends_with(2);
    for part in ["AMQP_QUEUE: missing; expected", "AMQP_PORT (environment): expected a port"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    world.run(&["status", "--no-such-flag"]).await.ends_with(2);
}

#[tokio::test]
async fn flags_and_a_file_configure_a_command_too() {
    let mut world = World::new().await;
    let url = world.environment.remove("DATABASE_URL").unwrap();
    let file = world.scratch.path().join("peer.toml");
    std::fs::write(&file, format!("database_url = '{url}'\namqp_queue = 'wrong name'\n")).unwrap();
    world.environment.remove("AMQP_QUEUE");
    let arguments = ["status", "--config", file.to_str().unwrap(), "--amqp-queue", "authority"];
    world.run(&arguments).await.ends_with(0);
    world.set("AMQP_QUEUE", "authority");
    world.set("DATABASE_URL", &url);
    world.set("PROPAGATOR_CONFIG", "");
    world.run(&["status"]).await.ends_with(0);
    world.environment.remove("AMQP_QUEUE");
    world.set("PROPAGATOR_CONFIG", file.to_str().unwrap());
    let ran = world.run(&["status"]).await.ends_with(2);
    assert!(ran.stderr.contains("AMQP_QUEUE (file "), "{}", ran.stderr);
}

#[tokio::test]
async fn a_receive_only_peer_has_nothing_to_operate() {
    let mut world = World::new().await;
    world.environment.remove("DATABASE_URL");
    for arguments in [&["status"][..], &["sync"], &["ensure", "webshop"], &["due"]] {
        let ran = world.run(arguments).await.ends_with(2);
        assert!(ran.stderr.contains("receive-only: DATABASE_URL is not set"), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn what_cannot_be_reached_ends_with_3() {
    let mut world = World::new().await;
    world.redis.kill().await.unwrap();
    let ran = world.run(&["ensure", "webshop"]).await.ends_with(3);
    assert!(ran.stderr.contains("the store failed"), "{}", ran.stderr);
    for scheme in ["postgres", "mysql"] {
        world.set("DATABASE_URL", &format!("{scheme}://user:s3cret@{}/mesh", World::nowhere()));
        let ran = world.run(&["status"]).await.ends_with(3);
        assert!(ran.stderr.contains("cannot open the database"), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn help_shows_the_configuration_and_completions_know_the_commands() {
    let world = World::new().await;
    let help = world.run(&["sync", "--help"]).await.ends_with(0);
    assert!(
        help.stdout.contains("--amqp-password-file <FILE>")
            && !help.stdout.contains("--amqp-password <")
    );
    let short = world.run(&["sync", "-h"]).await.ends_with(0);
    assert!(!short.stdout.contains("--amqp-host"), "{}", short.stdout);
    for shell in ["bash", "zsh", "fish"] {
        let ran = world.run(&["completions", shell]).await.ends_with(0);
        assert!(ran.stdout.contains("doctor") && ran.stdout.contains("amqp-host"), "{shell}");
    }
}
