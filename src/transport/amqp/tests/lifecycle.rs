use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::join_all;
use hmac_propagator_support::{Mode, Proxy, eventually};

use super::*;
use crate::transport::{DeclareError, PublishError};

async fn no_io_threads() {
    eventually(BOUND, || async { (io_threads() == 0).then_some(()) }).await;
}

#[tokio::test]
async fn close_flushes_what_was_accepted_and_refuses_what_comes_after() {
    let mut scene = Scene::new().await;
    let queues = scene.queues;
    scene.transport.declare(&peer("a")).await.unwrap();
    let mut publishes = Vec::new();
    for _ in 0..500 {
        let transport = scene.transport.clone();
        publishes
            .push(Box::pin(async move { transport.publish(&peer("a"), b"{}".to_vec()).await }));
    }
    // Polled once: accepted, and not confirmed yet.
    for publish in &mut publishes {
        assert!(publish.now_or_never().is_none());
    }
    let (results, ()) = tokio::join!(join_all(publishes), scene.transport.close(BOUND));
    for result in results {
        result.unwrap();
    }
    assert_eq!(queues.count("hmac-a.queue").await.unwrap(), Some(500));
    let late = scene.transport.publish(&peer("a"), b"{}".to_vec()).await;
    assert!(matches!(late, Err(PublishError::Closed)), "{late:?}");
    let late = scene.transport.declare(&peer("a")).await;
    assert!(matches!(late, Err(DeclareError::Closed)), "{late:?}");
    assert!(bounded(scene.deliveries.recv()).await.is_none());
    assert_eq!(*scene.transport.health().borrow(), LinkHealth::default());
}

#[tokio::test]
async fn every_call_of_close_returns_when_all_is_closed() {
    let scene = Scene::new().await;
    drop(scene.queues);
    no_threads_but(2).await;
    let (one, two) = (scene.transport.clone(), scene.transport.clone());
    // A caller that gives up does not stop the closing.
    let mut given_up = Box::pin(scene.transport.close(BOUND));
    assert!((&mut given_up).now_or_never().is_none());
    drop(given_up);
    bounded(async { tokio::join!(one.close(BOUND), two.close(BOUND)) }).await;
    assert_eq!(*scene.transport.health().borrow(), LinkHealth::default());
    bounded(scene.transport.close(BOUND)).await;
    no_io_threads().await;
}

async fn no_threads_but(count: usize) {
    eventually(BOUND, || async { (io_threads() == count).then_some(()) }).await;
}

#[tokio::test]
async fn close_returns_soon_after_its_deadline_when_the_broker_is_silent() {
    let broker = Broker::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let proxy = Proxy::start(broker.address()).await.unwrap();
    let (transport, _deliveries) = start(options(&broker, &vhost, proxy.address()));
    health(&transport, both_up).await;
    proxy.set_mode(Mode::BlackHole);
    let stuck_transport = transport.clone();
    let stuck = tokio::spawn(async move { stuck_transport.publish(&peer("own"), vec![1]).await });
    tokio::task::yield_now().await;
    let before = Instant::now();
    transport.close(Duration::from_millis(300)).await;
    let took = before.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let error = bounded(stuck).await.unwrap().unwrap_err();
    assert!(matches!(error, PublishError::Unavailable), "{error}");
    no_io_threads().await;
}

#[tokio::test]
async fn a_transport_that_is_dropped_without_close_ends_its_connections() {
    let scene = Scene::new().await;
    let Scene { broker, vhost, queues, transport, mut deliveries } = scene;
    eventually(BOUND, || async { (queues.consumers(OWN).await.unwrap() == Some(1)).then_some(()) })
        .await;
    drop(transport);
    assert!(bounded(deliveries.recv()).await.is_none());
    eventually(BOUND, || async { (queues.consumers(OWN).await.unwrap() == Some(0)).then_some(()) })
        .await;
    drop(queues);
    no_io_threads().await;
    drop((vhost, broker));
}

#[tokio::test]
async fn close_before_the_first_connection_ends_the_attempts() {
    let address = hmac_propagator_support::free_address().unwrap();
    let options = BrokerOptions::new("u", BrokerPassword::new("p"))
        .address(address.ip().to_string(), address.port());
    let (transport, mut deliveries) = start(options);
    bounded(transport.close(BOUND)).await;
    assert!(deliveries.recv().await.is_none());
    assert_eq!(*transport.health().borrow(), LinkHealth::default());
    bounded(transport.stop_consuming()).await;
}
