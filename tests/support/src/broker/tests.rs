use std::time::Duration;

use lapin::types::{AMQPValue, FieldTable};

use super::*;
use crate::{Mode, Proxy, eventually};

const BOUND: Duration = Duration::from_secs(30);

#[tokio::test]
async fn queues_of_one_virtual_host_are_seen_only_there() {
    let broker = Broker::start().await.unwrap();
    let (mine, other) = (broker.vhost().await.unwrap(), broker.vhost().await.unwrap());
    let (mine, other) = (mine.queues().await.unwrap(), other.queues().await.unwrap());
    mine.declare("q").await.unwrap();
    mine.publish("q", b"body").await.unwrap();
    assert_eq!(mine.count("q").await, Ok(Some(1)));
    assert_eq!(mine.consumers("q").await, Ok(Some(0)));
    assert_eq!(other.count("q").await, Ok(None));
    assert!(other.publish("q", b"body").await.is_err());

    let message = mine.get("q").await.unwrap().unwrap();
    assert_eq!(message.body, b"body");
    assert_eq!(*message.properties.delivery_mode(), Some(2));
    assert_eq!(mine.get("q").await, Ok(None));
    mine.publish("q", b"again").await.unwrap();
    assert_eq!(mine.purge("q").await, Ok(1));
    mine.delete("q").await.unwrap();
    assert_eq!(mine.count("q").await, Ok(None));
}

#[tokio::test]
async fn arguments_and_policies_reach_the_queue() {
    let broker = Broker::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let queues = vhost.queues().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(7));
    queues.declare_with("other", arguments).await.unwrap();
    assert!(queues.declare("other").await.unwrap_err().to_string().contains("PRECONDITION"));

    queues.declare("full").await.unwrap();
    let policy = r#"{"max-length":1,"overflow":"reject-publish"}"#;
    vhost.set_policy("^full$", policy).await.unwrap();
    // The policy reaches the queue's process a moment after the answer.
    eventually(BOUND, || async { queues.publish("full", b"x").await.err() }).await;
    assert_eq!(queues.count("full").await, Ok(Some(1)));
}

#[tokio::test]
async fn who_peeks_sees_all_messages_and_leaves_them_in_their_order() {
    let broker = Broker::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let queues = vhost.queues().await.unwrap();
    queues.declare("q").await.unwrap();
    assert!(queues.peek("q").await.unwrap().is_empty());
    for body in [b"1", b"2"] {
        queues.publish("q", body).await.unwrap();
    }
    for _ in 0..2 {
        assert_eq!(queues.peek("q").await.unwrap(), [b"1", b"2"]);
    }
    assert_eq!(queues.get("q").await.unwrap().unwrap().body, b"1");
}

#[tokio::test]
async fn connections_go_through_a_proxy_and_are_closed_on_request() {
    let broker = Broker::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let proxy = Proxy::start(broker.address()).await.unwrap();
    let through = Queues::connect(&vhost.url_via(proxy.address())).await.unwrap();
    assert_eq!(through.count("q").await, Ok(None));
    proxy.set_mode(Mode::BlackHole);
    let asked = tokio::time::timeout(Duration::from_millis(200), through.count("q")).await;
    assert!(asked.is_err());
    proxy.set_mode(Mode::Pass);
    assert_eq!(through.count("q").await, Ok(None));
    vhost.close_connections().await.unwrap();
    assert!(through.count("q").await.is_err());
}

/// A private node with a queue that one message stands in.
async fn with_a_message() -> (PrivateBroker, Vhost, Queues) {
    let broker = Broker::start_private().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let queues = vhost.queues().await.unwrap();
    queues.declare("q").await.unwrap();
    queues.publish("q", b"kept").await.unwrap();
    (broker, vhost, queues)
}

// Two tests rather than one: each command to a node starts a machine of its own, which on a busy processor takes seconds.
#[tokio::test]
async fn a_private_node_can_be_blocked_paused_and_cut_off() {
    let (broker, _vhost, queues) = with_a_message().await;
    broker.set_memory_alarm(true).await.unwrap();
    let publishing = queues.publish("q", b"blocked");
    assert!(tokio::time::timeout(Duration::from_millis(200), publishing).await.is_err());
    broker.set_memory_alarm(false).await.unwrap();
    eventually(BOUND, || async { (queues.count("q").await == Ok(Some(2))).then_some(()) }).await;

    broker.pause().await.unwrap();
    let counting = queues.count("q");
    assert!(tokio::time::timeout(Duration::from_millis(200), counting).await.is_err());
    broker.resume().await.unwrap();
    assert_eq!(queues.count("q").await, Ok(Some(2)));

    broker.close_all_connections().await.unwrap();
    assert!(queues.count("q").await.is_err());
}

#[tokio::test]
async fn a_private_node_can_be_killed_and_stopped_and_keeps_its_messages() {
    let (broker, vhost, _queues) = with_a_message().await;
    // That there is a queue is written without waiting for the disk, other than its messages.
    broker.rabbitmqctl(&["eval", "mnesia:sync_log()."]).await.unwrap();
    broker.kill().await.unwrap();
    assert!(vhost.queues().await.is_err());
    broker.restart().await.unwrap();
    assert_eq!(vhost.queues().await.unwrap().count("q").await, Ok(Some(1)));

    broker.stop().await.unwrap();
    broker.restart().await.unwrap();
    assert_eq!(vhost.queues().await.unwrap().count("q").await, Ok(Some(1)));
}
