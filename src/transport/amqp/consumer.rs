//! Consuming the own queue.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Channel, Consumer};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::describe::describe;
use super::health::Report;
use super::link::Link;
use super::quiet::silenced;
use super::supervisor::Duty;
use super::topology::{classify, declare};
use crate::transport::{DeclareError, Deliveries, Delivery, Settle};

/// How long the broker may take to confirm that it stopped delivering.
const CANCEL_DEADLINE: Duration = Duration::from_secs(2);

/// Declares the own queue, consumes it and hands the deliveries on.
pub(super) struct ConsumeDuty {
    queue: ShortString,
    prefetch: u16,
    setup_deadline: Duration,
    /// Gone once consuming has stopped, so that the receiver sees the end.
    deliveries: Option<mpsc::Sender<Delivery>>,
    stop: CancellationToken,
    stopped: Option<DropGuard>,
}

/// How consuming is stopped from outside.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    /// Cancel it to stop.
    pub(super) stop: CancellationToken,
    /// Cancelled when the broker delivers no more.
    pub(super) stopped: CancellationToken,
}

impl ConsumeDuty {
    /// The duty, its brake, and where its deliveries arrive. A prefetch of 0 counts as 1.
    pub(super) fn new(
        queue: ShortString,
        prefetch: u16,
        setup_deadline: Duration,
    ) -> (Self, Stop, Deliveries) {
        let prefetch = prefetch.max(1);
        let (sender, deliveries) = mpsc::channel(usize::from(prefetch));
        let stop = Stop { stop: CancellationToken::new(), stopped: CancellationToken::new() };
        let duty = Self {
            queue,
            prefetch,
            setup_deadline,
            deliveries: Some(sender),
            stop: stop.stop.clone(),
            stopped: Some(stop.stopped.clone().drop_guard()),
        };
        (duty, stop, deliveries)
    }

    async fn set_up(&self, link: &Link) -> Result<(Channel, Consumer), String> {
        let failed = |error: lapin::Error| describe(&error);
        let channel = link.connection().create_channel().await.map_err(failed)?;
        let each = BasicQosOptions { global: false };
        channel.basic_qos(self.prefetch, each).await.map_err(failed)?;
        declare(&channel, self.queue.clone()).await.map_err(|error| own_queue_refused(&error))?;
        let consumer = channel
            .basic_consume(
                self.queue.clone(),
                ShortString::default(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(failed)?;
        Ok((channel, consumer))
    }

    /// Hands deliveries on until it is told to stop (`None`) or they end (why).
    async fn forward(&self, link: &Link, consumer: &mut Consumer) -> Option<String> {
        let deliveries = self.deliveries.as_ref()?;
        loop {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                next = consumer.next() => next,
            };
            let delivery = match next {
                Some(Ok(delivery)) => delivery,
                Some(Err(error)) => return Some(describe(&error)),
                None => {
                    return Some("the broker cancelled the consumer: own queue deleted?".into());
                }
            };
            let settle = SettleOnce { acker: delivery.acker, link_ended: link.ended().clone() };
            let delivery = Delivery::new(delivery.data, Box::new(settle));
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                // Nobody receives any more: as good as told to stop.
                sent = deliveries.send(delivery) => sent.ok()?,
            }
        }
    }

    async fn stop(&mut self, channel: &Channel, consumer: &Consumer) {
        let cancel = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        // When it fails the channel is gone, and the broker delivers nothing either.
        let _ = timeout(CANCEL_DEADLINE, silenced(cancel)).await;
        self.deliveries = None;
        self.stopped = None;
    }
}

#[async_trait]
impl Duty for ConsumeDuty {
    async fn serve(&mut self, link: &Arc<Link>, report: &Report) -> String {
        let set_up = tokio::select! {
            biased;
            () = self.stop.cancelled() => return "stopped".into(),
            set_up = timeout(self.setup_deadline, silenced(self.set_up(link))) => set_up,
        };
        let (channel, mut consumer) = match set_up {
            Ok(Ok(set_up)) => set_up,
            Ok(Err(reason)) => return reason,
            Err(_) => return "the own queue: no answer from the broker".into(),
        };
        report.up();
        if let Some(reason) = self.forward(link, &mut consumer).await {
            return reason;
        }
        self.stop(&channel, &consumer).await;
        report.closed();
        // The link stays for those who still settle what they were handed.
        std::future::pending().await
    }
}

fn own_queue_refused(error: &lapin::Error) -> String {
    match classify(error) {
        DeclareError::ForeignArguments(text) => {
            format!("the own queue exists with other arguments: {text}")
        }
        _ => format!("the own queue: {}", describe(error)),
    }
}

/// Settles one delivery on the channel that it came from.
struct SettleOnce {
    acker: Acker,
    link_ended: CancellationToken,
}

impl SettleOnce {
    async fn until_ended(&self, settling: impl Future<Output = lapin::Result<bool>>) {
        let settled = tokio::select! {
            biased;
            settled = settling => settled,
            () = self.link_ended.cancelled() => return,
        };
        if let Err(error) = settled {
            tracing::debug!(reason = describe(&error), "delivery not settled, it will come again");
        }
    }
}

#[async_trait]
impl Settle for SettleOnce {
    async fn ack(self: Box<Self>) {
        self.until_ended(self.acker.ack(BasicAckOptions::default())).await;
    }

    async fn reject(self: Box<Self>) {
        let for_good = BasicRejectOptions { requeue: false };
        self.until_ended(self.acker.reject(for_good)).await;
    }

    fn is_dead(&self) -> bool {
        self.link_ended.is_cancelled()
    }
}
