use hmac_propagator_support::eventually;
use hmac_propagator_support::lapin::types::{AMQPValue, FieldTable};

use super::*;

#[tokio::test]
async fn an_acked_delivery_is_gone_and_an_unacked_one_comes_again() {
    let mut scene = Scene::new().await;
    for body in ["1", "2"] {
        scene.transport.publish(&peer("own"), body.into()).await.unwrap();
    }
    let first = receive(&mut scene.deliveries).await;
    let second = receive(&mut scene.deliveries).await;
    assert_eq!((&first.body[..], &second.body[..]), (&b"1"[..], &b"2"[..]));
    second.ack().await;
    scene.transport.close(BOUND).await;
    drop(first);
    eventually(BOUND, || async {
        (scene.queues.count(OWN).await.unwrap() == Some(1)).then_some(())
    })
    .await;
    let left = scene.queues.get(OWN).await.unwrap().unwrap();
    assert_eq!(left.body, b"1");
    assert!(left.redelivered);
}

#[tokio::test]
async fn no_more_than_the_prefetch_is_handed_out() {
    let broker = Broker::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let queues = vhost.queues().await.unwrap();
    queues.declare(OWN).await.unwrap();
    for _ in 0..5 {
        queues.publish(OWN, b"{}").await.unwrap();
    }
    let mut options = options(&broker, &vhost, broker.address());
    options.prefetch = 2;
    let (_transport, mut deliveries) = start(options);
    let first = receive(&mut deliveries).await;
    let _second = receive(&mut deliveries).await;
    // Three stay ready as long as nothing is settled.
    assert_eq!(queues.count(OWN).await.unwrap(), Some(3));
    first.ack().await;
    receive(&mut deliveries).await;
}

#[tokio::test]
async fn the_own_queue_deleted_is_declared_and_consumed_again() {
    let mut scene = Scene::new().await;
    let mut seen = scene.transport.health();
    seen.mark_unchanged();
    // Watched from before: it may be up again before the deletion returns.
    let watching = tokio::spawn(async move {
        seen.wait_for(|health| !health.consumer.is_up()).await.unwrap().clone()
    });
    scene.queues.delete(OWN).await.unwrap();
    let down = bounded(watching).await.unwrap();
    assert!(reason(&down.consumer).unwrap().contains("own queue"), "{down:?}");
    assert!(down.publisher.is_up());
    health(&scene.transport, both_up).await;
    scene.transport.publish(&peer("own"), b"again".to_vec()).await.unwrap();
    assert_eq!(receive(&mut scene.deliveries).await.body, b"again");
}

#[tokio::test]
async fn an_own_queue_with_foreign_arguments_is_reported_until_it_is_gone() {
    let broker = Broker::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let queues = vhost.queues().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(7));
    queues.declare_with(OWN, arguments).await.unwrap();
    let (transport, mut deliveries) = start(options(&broker, &vhost, broker.address()));
    let down =
        health(&transport, |health| health.publisher.is_up() && reason(&health.consumer).is_some())
            .await;
    let text = reason(&down.consumer).unwrap();
    assert!(text.contains("own queue exists with other arguments"), "{text}");
    assert!(text.contains("x-max-length"), "{text}");
    queues.delete(OWN).await.unwrap();
    health(&transport, both_up).await;
    transport.publish(&peer("own"), b"{}".to_vec()).await.unwrap();
    receive(&mut deliveries).await;
}

#[tokio::test]
async fn a_channel_closed_by_the_consumer_timeout_is_replaced_and_the_delivery_comes_again() {
    let broker = Broker::start_private_with("consumer_timeout = 300\n").await.unwrap();
    // How often channels look for late acks; a minute unless set.
    broker.eval("application:set_env(rabbit, channel_tick_interval, 200).").await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let (transport, mut deliveries) = start(options(&broker, &vhost, broker.address()));
    health(&transport, both_up).await;
    transport.publish(&peer("own"), b"slow".to_vec()).await.unwrap();
    let late = receive(&mut deliveries).await;
    let down = health(&transport, |health| !health.consumer.is_up()).await;
    assert!(reason(&down.consumer).unwrap().contains("timed out"), "{down:?}");
    let again = receive(&mut deliveries).await;
    assert_eq!(again.body, b"slow");
    // The late ack belongs to the old channel: it must not settle anything on the new one.
    late.ack().await;
    again.ack().await;
    transport.close(BOUND).await;
    let queues = vhost.queues().await.unwrap();
    assert_eq!(queues.count(OWN).await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_rejected_delivery_goes_where_a_policy_says_and_never_comes_again() {
    let mut scene = Scene::new().await;
    scene.queues.declare("dead-letters").await.unwrap();
    let to = r#"{"dead-letter-exchange": "", "dead-letter-routing-key": "dead-letters"}"#;
    scene.vhost.set_policy("^hmac-own[.]queue$", to).await.unwrap();
    for body in ["rejected", "acked"] {
        scene.transport.publish(&peer("own"), body.into()).await.unwrap();
    }
    receive(&mut scene.deliveries).await.reject().await;
    receive(&mut scene.deliveries).await.ack().await;
    let dead = eventually(BOUND, || async { scene.queues.get("dead-letters").await.unwrap() });
    assert_eq!(dead.await.body, b"rejected");
    scene.transport.close(BOUND).await;
    assert_eq!(scene.queues.count(OWN).await.unwrap(), Some(0));
    assert_eq!(scene.queues.count("dead-letters").await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_delivery_that_is_rejected_without_a_policy_is_gone() {
    let mut scene = Scene::new().await;
    scene.transport.publish(&peer("own"), b"rejected".to_vec()).await.unwrap();
    receive(&mut scene.deliveries).await.reject().await;
    scene.transport.close(BOUND).await;
    assert_eq!(scene.queues.count(OWN).await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_late_reject_of_an_old_channel_settles_nothing_on_the_new_one() {
    let mut scene = Scene::new().await;
    scene.transport.publish(&peer("own"), b"kept".to_vec()).await.unwrap();
    let late = receive(&mut scene.deliveries).await;
    scene.vhost.close_connections().await.unwrap();
    let again = receive(&mut scene.deliveries).await;
    assert_eq!(again.body, b"kept");
    assert!(late.is_dead() && !again.is_dead());
    // Both have the first tag of their channel.
    late.reject().await;
    scene.transport.close(BOUND).await;
    drop(again);
    // The test's own connection was closed with the others.
    let queues = scene.vhost.queues().await.unwrap();
    eventually(BOUND, || async { (queues.count(OWN).await.unwrap() == Some(1)).then_some(()) })
        .await;
}

#[tokio::test]
async fn after_stop_nothing_more_is_handed_out_and_what_was_can_still_be_acked() {
    let mut scene = Scene::new().await;
    scene.transport.publish(&peer("own"), b"1".to_vec()).await.unwrap();
    let handed_out = receive(&mut scene.deliveries).await;
    bounded(scene.transport.stop_consuming()).await;
    bounded(scene.transport.stop_consuming()).await;
    scene.transport.publish(&peer("own"), b"2".to_vec()).await.unwrap();
    assert!(bounded(scene.deliveries.recv()).await.is_none());
    handed_out.ack().await;
    scene.transport.close(BOUND).await;
    let left = scene.queues.get(OWN).await.unwrap().unwrap();
    assert_eq!(left.body, b"2");
    assert!(scene.queues.get(OWN).await.unwrap().is_none());
}
