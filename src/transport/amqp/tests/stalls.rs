use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::join_all;
use hmac_propagator_support::{PrivateBroker, eventually};
use lapin::types::ShortString;

use super::*;
use crate::transport::{DeclareError, PublishError};

/// Longer than any publish to a queue that works takes beside a stalled one, and far shorter than
/// the deadline of those to the stalled one.
const UNDISTURBED: Duration = Duration::from_secs(3);

/// A transport with queues, some of which can be kept from answering.
struct Stall {
    broker: PrivateBroker,
    vhost: Vhost,
    transport: Arc<AmqpTransport>,
    _deliveries: Deliveries,
}

impl Stall {
    async fn new(change: impl FnOnce(&mut BrokerOptions)) -> Self {
        let broker = Broker::start_private().await.unwrap();
        let vhost = broker.vhost().await.unwrap();
        let mut options = options(&broker, &vhost, broker.address());
        change(&mut options);
        let (transport, deliveries) = start(options);
        health(&transport, both_up).await;
        Self { broker, vhost, transport, _deliveries: deliveries }
    }

    async fn declare(&self, names: impl Iterator<Item = String>) {
        for name in names {
            self.transport.declare(&peer(&name)).await.unwrap();
        }
    }

    async fn suspend(&self, peers: &[&str]) {
        let names: Vec<_> = peers.iter().map(|name| queue_name(&peer(name))).collect();
        let names: Vec<_> = names.iter().map(ShortString::as_str).collect();
        self.broker.suspend_queues(&self.vhost, &names).await.unwrap();
    }

    async fn resume(&self, peers: &[&str]) {
        let names: Vec<_> = peers.iter().map(|name| queue_name(&peer(name))).collect();
        let names: Vec<_> = names.iter().map(ShortString::as_str).collect();
        self.broker.resume_queues(&self.vhost, &names).await.unwrap();
    }

    /// Publishes to each name, all at once, and answers with the results and how long each took.
    async fn publish(&self, names: Vec<String>) -> Vec<(Result<(), PublishError>, Duration)> {
        let publishes = names.into_iter().enumerate().map(|(n, name)| {
            let transport = self.transport.clone();
            tokio::spawn(async move {
                let before = Instant::now();
                let result = transport.publish(&peer(&name), n.to_string().into_bytes()).await;
                (result, before.elapsed())
            })
        });
        let results = bounded(join_all(publishes)).await;
        results.into_iter().map(Result::unwrap).collect()
    }

    /// Waits until what waits for these queues has been left behind by its lanes.
    async fn left_behind(&self, peers: &[&str]) {
        let slow = |name: &&str| self.transport.publisher.is_slow(&queue_name(&peer(name)));
        eventually(BOUND, || async { peers.iter().all(slow).then_some(()) }).await;
    }

    async fn one(&self, name: &str) -> (Result<(), PublishError>, Duration) {
        self.publish(vec![name.to_owned()]).await.remove(0)
    }
}

fn hundred(n: usize) -> String {
    format!("q{}", n % 100)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_does_not_confirm_delays_no_other() {
    let stall = Stall::new(|_| {}).await;
    let deadline = Duration::from_secs(10);
    stall.declare((0..100).map(hundred)).await;
    stall.suspend(&["q7"]).await;
    let results = stall.publish((0..1000).map(hundred).collect()).await;
    for (n, (result, took)) in results.into_iter().enumerate() {
        if n % 100 == 7 {
            assert!(matches!(result, Err(PublishError::Unavailable)), "{n}: {result:?}");
            assert!(took >= deadline && took < deadline + UNDISTURBED, "{n}: {took:?}");
        } else {
            result.unwrap_or_else(|error| panic!("{n}: {error}"));
            assert!(took < UNDISTURBED, "{n}: {took:?}");
        }
    }
    assert!(both_up(&stall.transport.health().borrow()));

    // What was on its way arrives, and the queue works as before.
    stall.resume(&["q7"]).await;
    let (result, took) = stall.one("q7").await;
    result.unwrap();
    assert!(took < UNDISTURBED, "{took:?}");
    let queues = stall.vhost.queues().await.unwrap();
    assert_eq!(queues.count("hmac-q7.queue").await.unwrap(), Some(11));
    assert_eq!(queues.count("hmac-q8.queue").await.unwrap(), Some(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn returns_are_attributed_exactly_while_some_queues_do_not_confirm() {
    let stall = Stall::new(|options| options.publish_deadline = Duration::from_secs(6)).await;
    let name = |n: usize| match n % 10 {
        3 => "nobody".to_owned(),
        5 => "stalled".to_owned(),
        rest => format!("q{rest}"),
    };
    stall.declare((0..10).filter(|n| *n != 3).map(name)).await;
    stall.suspend(&["stalled"]).await;
    // Twice: the second time the stalled queue is known to be slow.
    for _ in 0..2 {
        let results = stall.publish((0..2000).map(name).collect()).await;
        for (n, (result, took)) in results.into_iter().enumerate() {
            let expected = match n % 10 {
                3 => matches!(result, Err(PublishError::Unroutable)),
                5 => matches!(result, Err(PublishError::Unavailable)),
                _ => result.is_ok(),
            };
            assert!(expected, "{n}: {result:?}");
            assert!(n % 10 == 5 || took < UNDISTURBED, "{n}: {took:?}");
        }
    }
    let queues = stall.vhost.queues().await.unwrap();
    assert_eq!(queues.count("hmac-q4.queue").await.unwrap(), Some(400));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_queue_confirms_late_but_before_the_deadline_is_a_success() {
    let stall = Stall::new(|options| options.publish_deadline = BOUND).await;
    stall.declare(["late", "later"].map(str::to_owned).into_iter()).await;
    stall.suspend(&["late", "later"]).await;
    let names = ["late", "later", "late", "nobody"].map(str::to_owned).to_vec();
    let publishes = stall.publish(names);
    let resume = async {
        stall.left_behind(&["late", "later"]).await;
        stall.resume(&["late"]).await;
        stall.one("late").await.0.unwrap();
        stall.resume(&["later"]).await;
    };
    let (results, ()) = tokio::join!(publishes, resume);
    let results: Vec<_> = results.into_iter().map(|(result, _)| result).collect();
    assert!(
        matches!(&results[..], [Ok(()), Ok(()), Ok(()), Err(PublishError::Unroutable)]),
        "{results:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_stalled_queue_goes_out_again_on_the_next_connection() {
    let stall = Stall::new(|options| options.publish_deadline = BOUND).await;
    stall.declare(["stalled", "a"].map(str::to_owned).into_iter()).await;
    stall.suspend(&["stalled"]).await;
    let publishes = stall.publish(["stalled", "a", "stalled"].map(str::to_owned).to_vec());
    let reconnect = async {
        stall.left_behind(&["stalled"]).await;
        let mut seen = stall.transport.health();
        seen.mark_unchanged();
        stall.broker.close_all_connections().await.unwrap();
        // That it changed, and not that it is down: it may be up again before the command returns.
        bounded(seen.changed()).await.unwrap();
        stall.resume(&["stalled"]).await;
    };
    let (results, ()) = tokio::join!(publishes, reconnect);
    for (result, _) in results {
        result.unwrap();
    }
    let queues = stall.vhost.queues().await.unwrap();
    let count = queues.count("hmac-stalled.queue").await.unwrap().unwrap();
    assert!((2..=4).contains(&count), "{count}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_channels_of_what_was_left_behind_are_closed_when_nobody_waits() {
    let stall = Stall::new(|options| options.publish_deadline = Duration::from_secs(2)).await;
    stall.declare(["stalled".to_owned()].into_iter()).await;
    stall.suspend(&["stalled"]).await;
    for _ in 0..3 {
        for (result, _) in stall.publish(vec!["stalled".to_owned(); 500]).await {
            assert!(matches!(result, Err(PublishError::Unavailable)), "{result:?}");
        }
    }
    eventually(BOUND, || async {
        let channels = stall.broker.rabbitmqctl(&["-q", "list_channels", "pid"]).await.unwrap();
        // A heading; one to consume, one that declared, and the lanes'.
        (channels.lines().count() <= 1 + 2 + 5).then_some(())
    })
    .await;
    stall.resume(&["stalled"]).await;
    stall.one("stalled").await.0.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_leaves_a_queue_that_does_not_confirm_at_its_deadline() {
    let stall = Stall::new(|options| options.publish_deadline = BOUND).await;
    stall.declare(["stalled", "a"].map(str::to_owned).into_iter()).await;
    stall.suspend(&["stalled"]).await;
    let publishes = stall.publish(["stalled", "a"].map(str::to_owned).to_vec());
    let close = async {
        stall.left_behind(&["stalled"]).await;
        let before = Instant::now();
        stall.transport.close(Duration::from_secs(1)).await;
        before.elapsed()
    };
    let (results, took) = tokio::join!(publishes, close);
    assert!(matches!(results[0].0, Err(PublishError::Unavailable)), "{results:?}");
    assert!(results[1].0.is_ok(), "{results:?}");
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declarations_that_hang_do_not_keep_others_waiting_for_their_deadline() {
    let stall = Stall::new(|options| options.declare_deadline = BOUND / 2).await;
    let names: Vec<_> = (0..20).map(|n| format!("s{n}")).collect();
    stall.declare(names.iter().cloned()).await;
    let stalled: Vec<_> = names.iter().map(String::as_str).collect();
    stall.suspend(&stalled).await;
    let hanging = names.iter().map(|name| {
        let (transport, queue) = (stall.transport.clone(), peer(name));
        async move { transport.declare(&queue).await }.boxed()
    });
    let mut hanging: Vec<_> = hanging.collect();
    // Polled once, they stand before all that come later.
    for declaration in &mut hanging {
        assert!(declaration.now_or_never().is_none());
    }
    let hanging: Vec<_> = hanging.into_iter().map(tokio::spawn).collect();
    // Twenty that hang for half a second each, four at a time.
    let before = Instant::now();
    stall.transport.declare(&peer("healthy")).await.unwrap();
    let took = before.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
    stall.resume(&stalled).await;
    for declared in bounded(join_all(hanging)).await {
        let declared: Result<_, DeclareError> = declared.unwrap();
        assert_eq!(declared.unwrap().ready, 0);
    }
}
