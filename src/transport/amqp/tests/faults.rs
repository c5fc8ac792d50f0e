use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use hmac_propagator_support::{Mode, Proxy, eventually};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::transport::{DeclareError, PublishError};

/// Publishes numbers until told to stop; answers with those that were confirmed and those that
/// were not.
async fn publish_numbers(
    transport: Arc<AmqpTransport>,
    next: Arc<AtomicU32>,
    stop: tokio_util::sync::CancellationToken,
) -> (Vec<u32>, u32) {
    let (mut confirmed, mut failed) = (Vec::new(), 0);
    while !stop.is_cancelled() {
        let number = next.fetch_add(1, Ordering::Relaxed);
        match transport.publish(&peer("a"), number.to_string().into_bytes()).await {
            Ok(()) => confirmed.push(number),
            Err(PublishError::Unavailable) => failed += 1,
            Err(other) => panic!("{number}: {other}"),
        }
    }
    (confirmed, failed)
}

#[tokio::test]
async fn a_broker_killed_while_publishing_loses_nothing_that_was_confirmed() {
    let broker = Broker::start_private().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let mut options = options(&broker, &vhost, broker.address());
    options.publish_deadline = BOUND;
    let (transport, _deliveries) = start(options);
    transport.declare(&peer("a")).await.unwrap();
    let next = Arc::new(AtomicU32::new(0));
    let stop = tokio_util::sync::CancellationToken::new();
    let mut publishers = JoinSet::new();
    for _ in 0..64 {
        publishers.spawn(publish_numbers(transport.clone(), next.clone(), stop.clone()));
    }
    let reached = |number: u32| {
        let next = next.clone();
        eventually(BOUND, move || {
            let reached = next.load(Ordering::Relaxed) >= number;
            async move { reached.then_some(()) }
        })
    };
    reached(2_000).await;
    broker.kill().await.unwrap();
    health(&transport, |health| !health.publisher.is_up()).await;
    broker.restart().await.unwrap();
    health(&transport, both_up).await;
    reached(next.load(Ordering::Relaxed) + 1_000).await;
    stop.cancel();
    let results = bounded(publishers.join_all()).await;

    let queues = vhost.queues().await.unwrap();
    let mut stored = HashSet::new();
    while let Some(message) = queues.get("hmac-a.queue").await.unwrap() {
        stored.insert(String::from_utf8(message.body).unwrap().parse::<u32>().unwrap());
    }
    let (confirmed, failed): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    let confirmed: Vec<u32> = confirmed.into_iter().flatten().collect();
    assert!(confirmed.len() >= 3_000);
    // What was in hand when the broker died went out after the restart.
    assert_eq!(failed.iter().sum::<u32>(), 0);
    let lost: Vec<_> = confirmed.iter().filter(|number| !stored.contains(number)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test]
async fn a_memory_alarm_ends_publishes_at_their_deadline_and_leaves_consuming_alone() {
    let broker = Broker::start_private().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let queues = vhost.queues().await.unwrap();
    let mut options = options(&broker, &vhost, broker.address());
    options.publish_deadline = Duration::from_millis(700);
    let (transport, mut deliveries) = start(options);
    health(&transport, both_up).await;
    for _ in 0..3 {
        queues.publish(OWN, b"{}").await.unwrap();
    }
    receive(&mut deliveries).await.ack().await;
    broker.set_memory_alarm(true).await.unwrap();

    for _ in 0..3 {
        let before = Instant::now();
        let error = transport.publish(&peer("own"), b"{}".to_vec()).await.unwrap_err();
        assert!(matches!(error, PublishError::Unavailable), "{error}");
        let took = before.elapsed();
        assert!(took < Duration::from_millis(1200), "{took:?}");
    }
    let blocked = health(&transport, |health| !health.publisher.is_up()).await;
    assert!(reason(&blocked.publisher).unwrap().contains("memory"), "{blocked:?}");
    assert!(blocked.consumer.is_up());
    for _ in 0..2 {
        receive(&mut deliveries).await.ack().await;
    }

    broker.set_memory_alarm(false).await.unwrap();
    health(&transport, both_up).await;
    // The first publish that met the alarm had reached the broker; the others were never sent.
    assert_eq!(receive(&mut deliveries).await.body, b"{}");
    transport.publish(&peer("own"), b"after".to_vec()).await.unwrap();
    assert_eq!(receive(&mut deliveries).await.body, b"after");
}

#[tokio::test]
async fn a_black_hole_is_noticed_within_two_heartbeats_and_left_behind() {
    let broker = Broker::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let proxy = Proxy::start(broker.address()).await.unwrap();
    let mut options = options(&broker, &vhost, proxy.address());
    options.heartbeat = Duration::from_secs(1);
    options.connect_deadline = Duration::from_millis(500);
    options.declare_deadline = Duration::from_millis(200);
    let (transport, mut deliveries) = start(options);
    health(&transport, both_up).await;
    proxy.set_mode(Mode::BlackHole);
    let before = Instant::now();
    // A declaration is stuck until its own deadline and no longer.
    let stuck = transport.declare(&peer("a")).await;
    assert!(matches!(stuck, Err(DeclareError::Unavailable)), "{stuck:?}");
    assert!(before.elapsed() < Duration::from_secs(1));

    let down = health(&transport, |h| !h.publisher.is_up() && !h.consumer.is_up()).await;
    let took = before.elapsed();
    assert!(took < Duration::from_millis(2_300), "{took:?}");
    assert!(reason(&down.publisher).unwrap().contains("silent"), "{down:?}");

    let transport_two = transport.clone();
    let in_hand =
        tokio::spawn(async move { transport_two.publish(&peer("own"), b"in hand".to_vec()).await });
    proxy.set_mode(Mode::Pass);
    health(&transport, both_up).await;
    bounded(in_hand).await.unwrap().unwrap();
    assert_eq!(receive(&mut deliveries).await.body, b"in hand");
}

#[tokio::test]
async fn connections_closed_by_the_broker_are_replaced_and_the_cause_is_told() {
    let scene = Scene::new().await;
    let mut seen = scene.transport.health();
    seen.mark_unchanged();
    let watching = tokio::spawn(async move {
        seen.wait_for(|health| reason(&health.publisher).is_some()).await.unwrap().clone()
    });
    scene.vhost.close_connections().await.unwrap();
    let down = bounded(watching).await.unwrap();
    assert!(reason(&down.publisher).unwrap().contains("closed by a test"), "{down:?}");
    health(&scene.transport, both_up).await;
    scene.transport.publish(&peer("own"), b"{}".to_vec()).await.unwrap();
}

#[tokio::test]
async fn a_broker_that_comes_later_is_found() {
    let broker = Broker::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let proxy = Proxy::start(broker.address()).await.unwrap();
    proxy.set_mode(Mode::CloseNew);
    let (transport, _deliveries) = start(options(&broker, &vhost, proxy.address()));
    let early = transport.clone();
    let waiting = tokio::spawn(async move { early.publish(&peer("own"), b"{}".to_vec()).await });
    health(&transport, |h| reason(&h.publisher).is_some() && reason(&h.consumer).is_some()).await;
    proxy.set_mode(Mode::Pass);
    health(&transport, both_up).await;
    // Its queue may not have been declared yet when the link came up; that is not the point here.
    let early = bounded(waiting).await.unwrap();
    assert!(matches!(early, Ok(()) | Err(PublishError::Unroutable)), "{early:?}");
}

#[tokio::test]
async fn attempts_to_connect_to_a_silent_peer_leave_no_threads_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = BrokerOptions::new("u", BrokerPassword::new("p"));
    options = options.address("127.0.0.1", listener.local_addr().unwrap().port());
    options.connect_deadline = Duration::from_millis(50);
    options.reconnect_most = Duration::from_millis(10);
    let (transport, _deliveries) = start(options);
    let mut silent = Vec::new();
    while silent.len() < 30 {
        silent.push(bounded(listener.accept()).await.unwrap());
    }
    // Two attempts run, and those before may be about to end.
    eventually(BOUND, || async { (io_threads() <= 2).then_some(()) }).await;
    let down = health(&transport, |health| reason(&health.publisher).is_some()).await;
    assert!(reason(&down.publisher).unwrap().contains("50ms"), "{down:?}");
    transport.close(BOUND).await;
    eventually(BOUND, || async { (io_threads() == 0).then_some(()) }).await;
}

#[tokio::test]
async fn a_refused_connection_is_reported_with_its_address() {
    let address = hmac_propagator_support::free_address().unwrap();
    let options = BrokerOptions::new("u", BrokerPassword::new("p"))
        .address(address.ip().to_string(), address.port());
    let (transport, _deliveries) = start(options);
    let down = health(&transport, |health| reason(&health.publisher).is_some()).await;
    let text = reason(&down.publisher).unwrap();
    assert!(text.contains(&address.to_string()) && text.contains("refused"), "{text}");
}
