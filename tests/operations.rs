//! What `docs/operations.md` says is enough, is enough.
#![cfg(all(feature = "propagation", feature = "redis"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::time::Duration;

use hmac_propagator::broker::BrokerOptions;
use hmac_propagator::event::Event;
use hmac_propagator::id::{ClientId, PeerQueue, Track};
use hmac_propagator::management::{MemoryManagement, Outcome};
use hmac_propagator::propagator::{Builder, Ensure, LinkState, Propagator};
use hmac_propagator::secret::{BrokerPassword, ClientSecret, PropagationSecret};
use hmac_propagator::state::MemoryState;
use hmac_propagator::store::MemoryCredentialStore;
use hmac_propagator_support::{Broker, PrivateBroker, eventually};

const SOON: Duration = Duration::from_secs(20);

/// Runs the document's `rabbitmqctl` lines as they stand there; only the passwords are added.
async fn set_up_as_documented() -> PrivateBroker {
    // User names are the node's, so it must be a node that no other test uses.
    let broker = Broker::start_private().await.unwrap();
    let document = include_str!("../docs/operations.md");
    let mut ran = 0;
    for line in document.lines().filter_map(|line| line.strip_prefix("rabbitmqctl ")) {
        let command = line.split_once('#').map_or(line, |(command, _)| command);
        let mut words: Vec<&str> =
            command.split_whitespace().map(|w| w.trim_matches('\'')).collect();
        if words[0] == "add_user" {
            words.push("password");
        }
        broker.rabbitmqctl(&words).await.unwrap();
        ran += 1;
    }
    assert_eq!(ran, 7);
    broker
}

fn peer(broker: &Broker, user: &str, queue: &str) -> Builder {
    let address = broker.address();
    let options = BrokerOptions::new(user, BrokerPassword::new("password"))
        .address(address.ip().to_string(), address.port());
    let state = MemoryState::new();
    let store = MemoryCredentialStore::new(state.clone(), Track::Http, "hmac:http");
    Propagator::builder(options, name(queue), secret(queue), state).credential_store(store)
}

fn name(queue: &str) -> PeerQueue {
    PeerQueue::new(queue).unwrap()
}

fn secret(queue: &str) -> PropagationSecret {
    PropagationSecret::new(format!("propagation-secret-of-{queue}")).unwrap()
}

#[tokio::test]
async fn the_documented_permissions_are_enough_and_end_at_the_own_queue() {
    let broker = set_up_as_documented().await;
    let management = MemoryManagement::new();
    management.add_target(name("orders"), secret("orders"));
    let authority = peer(&broker, "authority", "authority").management(management).fail_fast(true);
    let authority = authority.start().await.unwrap();
    let mut events = authority.events();

    // Before the target was ever up: the source declares its queue.
    let client = ClientId::new("webshop").unwrap();
    let request = Ensure::new(client, ClientSecret::new("plain").unwrap());
    authority.ensure(request.targets([name("orders")])).await.unwrap();
    assert_eq!(authority.sync().await.unwrap().targets_published, 1);

    let orders =
        peer(&broker, "orders", "orders").source_secret(name("authority"), secret("authority"));
    let orders = orders.fail_fast(true).start().await.unwrap();
    let complete = async {
        loop {
            if let Some(Event::FullyPropagated { outcome, .. }) = events.next().await {
                return outcome;
            }
        }
    };
    assert_eq!(tokio::time::timeout(SOON, complete).await.unwrap(), Outcome::Success);

    // The user of one peer cannot read another's queue.
    let intruder = peer(&broker, "orders", "authority").start().await.unwrap();
    let mut seen = intruder.events();
    let refused = async {
        while !matches!(&intruder.status().await.consumer, LinkState::Down { reason: Some(why) } if why.contains("ACCESS_REFUSED"))
        {
            seen.next().await.unwrap();
        }
    };
    tokio::time::timeout(SOON, refused).await.unwrap();
    for peer in [intruder, orders, authority] {
        peer.close().await;
    }
}

#[tokio::test]
async fn the_documented_policy_keeps_refused_messages_whole() {
    let broker = set_up_as_documented().await;
    let tester = ["set_permissions", "-p", "hmac-credentials", "tester", ".*", ".*", ".*"];
    broker.rabbitmqctl(&tester).await.unwrap();
    let vhost = broker.vhost_named("hmac-credentials").await.unwrap();
    let queues = vhost.queues().await.unwrap();
    queues.declare("refused-messages").await.unwrap();
    let orders = peer(&broker, "orders", "orders").fail_fast(true).start().await.unwrap();
    queues.publish("hmac-orders.queue", b"no message").await.unwrap();
    let kept = eventually(SOON, || async { queues.get("refused-messages").await.unwrap() }).await;
    assert_eq!(kept.body, b"no message");
    // Texts are printed as lists of bytes.
    let headers = format!("{:?}", kept.properties.headers());
    let queue = format!("{:?}", "hmac-orders.queue".as_bytes());
    assert!(headers.contains("x-death") && headers.contains(&queue), "{headers}");
    assert_eq!(orders.refused_messages(1).await.unwrap()[0].bytes, 10);
    // A restart declares the queue as before: the policy is no argument of it.
    orders.close().await;
    peer(&broker, "orders", "orders").fail_fast(true).start().await.unwrap().close().await;
}
