use std::collections::BTreeSet;

use futures_util::future::join_all;
use hmac_propagator_support::lapin::types::{AMQPValue, FieldTable};

use super::*;
use crate::transport::{DeclareError, PublishError};

#[tokio::test]
async fn a_message_arrives_with_the_properties_of_the_contract_once_it_is_confirmed() {
    let scene = Scene::new().await;
    let depth = scene.transport.declare(&peer("a")).await.unwrap();
    assert_eq!((depth.ready, depth.consumers), (0, 0));
    let body = br#"{"x":1}"#.to_vec();
    scene.transport.publish(&peer("a"), body.clone()).await.unwrap();
    // Confirmed means that it is there now, not some time later.
    let message = scene.queues.get("hmac-a.queue").await.unwrap().unwrap();
    assert_eq!(message.body, body);
    let properties = message.properties;
    assert_eq!(properties.delivery_mode(), &Some(2));
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!(properties.headers(), &Some(FieldTable::default()));
}

#[tokio::test]
async fn a_body_longer_than_a_frame_arrives_whole() {
    let mut scene = Scene::new().await;
    let body: Vec<u8> = (0..300_000).map(|n: u32| n.to_le_bytes()[0]).collect();
    scene.transport.publish(&peer("own"), body.clone()).await.unwrap();
    assert_eq!(receive(&mut scene.deliveries).await.body, body);
}

#[tokio::test]
async fn exactly_the_unroutable_of_a_thousand_pipelined_publishes_are_flagged() {
    let scene = Scene::new().await;
    scene.transport.declare(&peer("a")).await.unwrap();
    let unroutable: BTreeSet<usize> = (0..10).map(|n| n * 97 + 5).collect();
    let publishes = (0..1000).map(|n| {
        let to = if unroutable.contains(&n) { peer("nobody") } else { peer("a") };
        let transport = scene.transport.clone();
        tokio::spawn(async move { transport.publish(&to, n.to_string().into_bytes()).await })
    });
    let mut flagged = BTreeSet::new();
    for (n, result) in bounded(join_all(publishes)).await.into_iter().enumerate() {
        match result.unwrap() {
            Ok(()) => {}
            Err(PublishError::Unroutable) => drop(flagged.insert(n)),
            Err(other) => panic!("{n}: {other}"),
        }
    }
    assert_eq!(flagged, unroutable);
    assert_eq!(scene.queues.count("hmac-a.queue").await.unwrap(), Some(990));
}

#[tokio::test]
async fn a_message_that_the_broker_nacks_is_refused_and_the_next_one_goes_through() {
    let scene = Scene::new().await;
    let limit = r#"{"max-length": 1, "overflow": "reject-publish"}"#;
    scene.vhost.set_policy("hmac-full", limit).await.unwrap();
    scene.transport.declare(&peer("full")).await.unwrap();
    scene.transport.declare(&peer("a")).await.unwrap();
    scene.transport.publish(&peer("full"), b"1".to_vec()).await.unwrap();
    let (full, other) = (peer("full"), peer("a"));
    let (full, other) = tokio::join!(
        scene.transport.publish(&full, b"2".to_vec()),
        scene.transport.publish(&other, b"3".to_vec()),
    );
    assert!(matches!(full, Err(PublishError::Refused)), "{full:?}");
    other.unwrap();
}

#[tokio::test]
async fn a_message_for_which_the_broker_closes_the_channel_is_refused_and_the_rest_of_its_batch_is_not()
 {
    let broker = Broker::start_private_with("max_message_size = 1000\n").await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let (transport, _deliveries) = start(options(&broker, &vhost, broker.address()));
    transport.declare(&peer("a")).await.unwrap();
    let publishes = (0..100).map(|n| {
        let body = vec![b'x'; if n == 50 { 2000 } else { 10 }];
        let transport = transport.clone();
        async move { transport.publish(&peer("a"), body).await }
    });
    for (n, result) in bounded(join_all(publishes)).await.into_iter().enumerate() {
        match (n, result) {
            (50, Err(PublishError::Refused)) => {}
            (50, other) => panic!("the large one: {other:?}"),
            (_, result) => result.unwrap(),
        }
    }
    health(&transport, both_up).await;
}

#[tokio::test]
async fn foreign_arguments_fail_that_declaration_alone_and_with_the_reason() {
    let scene = Scene::new().await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(60_000));
    scene.queues.declare_with("hmac-foreign.queue", arguments).await.unwrap();
    // Twice as many as there are channels, so that each channel meets the refusal.
    let (foreign, own) = (peer("foreign"), peer("fine"));
    let declares = (0..8).map(|n| {
        let queue = if n % 2 == 0 { &foreign } else { &own };
        scene.transport.declare(queue)
    });
    for (n, declared) in bounded(join_all(declares)).await.into_iter().enumerate() {
        match declared {
            Ok(_) => assert_eq!(n % 2, 1, "{n}"),
            Err(DeclareError::ForeignArguments(text)) => {
                assert_eq!(n % 2, 0, "{n}");
                assert!(text.contains("x-message-ttl"), "{text}");
            }
            Err(other) => panic!("{n}: {other}"),
        }
    }
    assert!(both_up(&scene.transport.health().borrow()));
}

#[tokio::test]
async fn a_declaration_without_permission_is_refused_with_the_reason() {
    let broker = Broker::start_private().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    for arguments in [
        &["add_user", "weak", "weak-password"][..],
        &["set_permissions", "-p", vhost.name(), "weak", "^hmac-own", ".*", ".*"],
    ] {
        broker.rabbitmqctl(arguments).await.unwrap();
    }
    let mut options = options(&broker, &vhost, broker.address());
    options.user = "weak".into();
    options.password = BrokerPassword::new("weak-password");
    let (transport, _deliveries) = start(options);
    let error = transport.declare(&peer("a")).await.unwrap_err();
    assert!(
        matches!(&error, DeclareError::Refused(text) if text.contains("ACCESS_REFUSED")),
        "{error}"
    );
    transport.declare(&peer("own")).await.unwrap();
}

#[tokio::test]
async fn a_declaration_reports_what_waits_and_who_consumes() {
    let scene = Scene::new().await;
    scene.transport.declare(&peer("a")).await.unwrap();
    for _ in 0..3 {
        scene.transport.publish(&peer("a"), b"{}".to_vec()).await.unwrap();
    }
    assert_eq!(scene.transport.declare(&peer("a")).await.unwrap().ready, 3);
    assert_eq!(scene.transport.declare(&peer("own")).await.unwrap().consumers, 1);
}
