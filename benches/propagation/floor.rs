//! The raw floor: per event one message there and one back, persistent and confirmed, through the
//! plain driver; no Redis, no management, no decoding.

use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hmac_propagator_support::lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use hmac_propagator_support::lapin::types::{FieldTable, ShortString};
use hmac_propagator_support::lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer,
};
use hmac_propagator_support::{Broker, Vhost, lapin};

/// As many unconfirmed messages as throughput needs; more bring nothing.
const WINDOW: usize = 256;
/// The size of a real apply event.
const BODY: usize = 420;

/// How many events go there and back in a second.
pub async fn events_per_second(broker: &Broker, events: usize, targets: usize) -> f64 {
    let vhost = broker.vhost().await.unwrap();
    let mut tasks = Vec::new();
    for target in 0..targets {
        let (consumer, _) = consumer(&vhost, &target_queue(target)).await;
        let replies = publisher(&vhost).await;
        tasks.push(tokio::spawn(answer(consumer, replies)));
    }
    let (mut answers, _answers) = consumer(&vhost, "source").await;
    let there = publisher(&vhost).await;
    let started = Instant::now();
    tasks.push(tokio::spawn(send(there, events, targets)));
    for _ in 0..events {
        let answer = answers.next().await.unwrap().unwrap();
        answer.acker.ack(BasicAckOptions::default()).await.unwrap();
    }
    #[allow(clippy::cast_precision_loss)]
    let rate = events as f64 / started.elapsed().as_secs_f64();
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    rate
}

async fn send((_connection, channel): (Connection, Channel), events: usize, targets: usize) {
    let body = vec![b'x'; BODY];
    let mut unconfirmed = FuturesUnordered::new();
    for event in 0..events {
        if unconfirmed.len() >= WINDOW {
            unconfirmed.next().await;
        }
        unconfirmed.push(publish(&channel, &target_queue(event % targets), &body).await);
    }
    while unconfirmed.next().await.is_some() {}
    std::future::pending::<()>().await;
}

async fn answer(mut events: Consumer, (_connection, channel): (Connection, Channel)) {
    let body = vec![b'x'; BODY / 2];
    let mut unconfirmed = FuturesUnordered::new();
    loop {
        tokio::select! {
            event = events.next() => {
                let event = event.unwrap().unwrap();
                let confirm = publish(&channel, "source", &body).await;
                unconfirmed.push(async move {
                    confirm.await.unwrap();
                    event.acker.ack(BasicAckOptions::default()).await.unwrap();
                });
            }
            Some(()) = unconfirmed.next() => {}
        }
    }
}

async fn publish(
    channel: &Channel,
    queue: &str,
    body: &[u8],
) -> impl Future<Output = lapin::Result<lapin::Confirmation>> + use<> {
    let properties = BasicProperties::default().with_delivery_mode(2);
    channel
        .basic_publish(
            ShortString::default(),
            ShortString::try_new(queue).unwrap(),
            BasicPublishOptions { mandatory: true, ..Default::default() },
            body,
            properties,
        )
        .await
        .unwrap()
}

async fn connection(vhost: &Vhost) -> Connection {
    Connection::connect(&vhost.url(), ConnectionProperties::default()).await.unwrap()
}

async fn publisher(vhost: &Vhost) -> (Connection, Channel) {
    let connection = connection(vhost).await;
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    (connection, channel)
}

async fn consumer(vhost: &Vhost, queue: &str) -> (Consumer, Connection) {
    let connection = connection(vhost).await;
    let channel = connection.create_channel().await.unwrap();
    let name = ShortString::try_new(queue).unwrap();
    let declare = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(name.clone(), declare, FieldTable::default()).await.unwrap();
    channel.basic_qos(WINDOW as u16, BasicQosOptions::default()).await.unwrap();
    let consumer = channel
        .basic_consume(
            name,
            ShortString::default(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    (consumer, connection)
}

fn target_queue(target: usize) -> String {
    format!("target-{target}")
}
