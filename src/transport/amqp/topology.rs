//! Declaring queues on channels of their own: the broker closes the channel of a declaration that it
//! refuses, and no publish may suffer from that.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ErrorKind, Queue};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::describe::{channel_error_code, describe};
use super::link::Link;
use super::publisher::CurrentLink;
use super::quiet::silenced;
use super::straggler::STALL;
use crate::transport::{DeclareError, QueueDepth};

/// Declarations side by side, and so channels.
const CHANNELS: usize = 4;

/// Declarations beyond those that may hang for a queue that does not answer.
const HANGING: usize = 64;

const PRECONDITION_FAILED: u16 = 406;

/// Declares queues over the publish side's link.
pub(super) struct Topology {
    current: CurrentLink,
    permits: Semaphore,
    /// Taken in exchange for a permit by what hangs, so that it holds up no others.
    hanging: Semaphore,
    idle: Mutex<Vec<Idle>>,
    deadline: Duration,
    closing: CancellationToken,
}

/// A channel without a declaration, and the link that it belongs to.
struct Idle {
    link: Weak<Link>,
    channel: Channel,
}

impl Topology {
    pub(super) fn new(
        current: CurrentLink,
        deadline: Duration,
        closing: CancellationToken,
    ) -> Self {
        Self {
            current,
            permits: Semaphore::new(CHANNELS),
            hanging: Semaphore::new(HANGING),
            idle: Mutex::new(Vec::new()),
            deadline,
            closing,
        }
    }

    /// Declares a queue, as durable as the wire contract wants it and without arguments.
    pub(super) async fn declare(&self, queue: ShortString) -> Result<QueueDepth, DeclareError> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(DeclareError::Closed),
            declared = timeout(self.deadline, silenced(self.declare_in_turn(queue))) => {
                declared.unwrap_or(Err(DeclareError::Unavailable))
            }
        }
    }

    async fn declare_in_turn(&self, queue: ShortString) -> Result<QueueDepth, DeclareError> {
        let permit = self.permits.acquire().await.map_err(|_| DeclareError::Closed)?;
        let link = self.live_link().await?;
        let channel = self.channel(&link).await?;
        // When this is dropped at the deadline the channel goes with it: an answer that comes late
        // must not meet the next declaration.
        let declared = self.declare_on(&channel, queue, permit).await;
        let declared = declared.map_err(|error| classify(&error))?;
        self.put_idle(&link, channel);
        Ok(QueueDepth { ready: declared.message_count(), consumers: declared.consumer_count() })
    }

    async fn declare_on(
        &self,
        channel: &Channel,
        queue: ShortString,
        permit: SemaphorePermit<'_>,
    ) -> lapin::Result<Queue> {
        let declaring = declare(channel, queue);
        tokio::pin!(declaring);
        tokio::select! {
            biased;
            declared = &mut declaring => declared,
            _hanging = self.hangs() => {
                drop(permit);
                declaring.await
            }
        }
    }

    /// Waits until a declaration counts as hanging, and there is room for it.
    async fn hangs(&self) -> Option<SemaphorePermit<'_>> {
        sleep(STALL).await;
        self.hanging.acquire().await.ok()
    }

    async fn live_link(&self) -> Result<Arc<Link>, DeclareError> {
        let alive = |link: &Option<Arc<Link>>| {
            link.as_ref().is_some_and(|link| !link.ended().is_cancelled())
        };
        let mut current = self.current.clone();
        let link = current.wait_for(alive).await;
        link.ok().and_then(|link| link.clone()).ok_or(DeclareError::Closed)
    }

    async fn channel(&self, link: &Arc<Link>) -> Result<Channel, DeclareError> {
        if let Some(channel) = self.take_idle(link) {
            return Ok(channel);
        }
        let created = link.connection().create_channel().await;
        created.map_err(|error| {
            // A channel on which a declaration hangs cannot be closed until its queue answers. When
            // those have taken all numbers, only a new connection helps.
            if matches!(error.kind(), ErrorKind::ChannelsLimitReached) {
                link.end("no channel is left");
            }
            DeclareError::Unavailable
        })
    }

    /// A channel of this link; those of former links are dropped.
    fn take_idle(&self, link: &Arc<Link>) -> Option<Channel> {
        let mut idle = self.idle();
        idle.retain(|idle| std::ptr::eq(idle.link.as_ptr(), Arc::as_ptr(link)));
        idle.pop().map(|idle| idle.channel)
    }

    fn put_idle(&self, link: &Arc<Link>, channel: Channel) {
        let mut idle = self.idle();
        // More were in use if some declarations were hanging.
        if idle.len() < CHANNELS {
            idle.push(Idle { link: Arc::downgrade(link), channel });
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Declares a queue exactly as the wire contract says. One that exists with other properties is
/// refused by the broker, and that closes the channel.
pub(super) async fn declare(channel: &Channel, queue: ShortString) -> lapin::Result<Queue> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue, options, FieldTable::default()).await
}

/// Sorts the error of a declaration.
pub(super) fn classify(error: &lapin::Error) -> DeclareError {
    match channel_error_code(error) {
        Some(PRECONDITION_FAILED) => DeclareError::ForeignArguments(describe(error)),
        Some(_) => DeclareError::Refused(describe(error)),
        None => DeclareError::Unavailable,
    }
}
