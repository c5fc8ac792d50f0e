//! Batches that wait for a queue that does not confirm, out of the way of their lane.
//!
//! A queue whose process does not answer, such as a quorum queue without a majority, confirms
//! nothing, while the broker and all other queues work. Its messages must not hold a lane, or every
//! other queue would wait with them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::batch::Batch;
use super::link::Link;
use super::publisher::Request;
use super::slow::SlowQueues;

/// How long nothing may be confirmed before the lane goes on without the rest.
pub(super) const STALL: Duration = Duration::from_millis(500);

/// Batches, and so channels, that may wait at once: so many for the lanes together and as many for
/// the slow lane, which cannot take the others' places away. Beyond it a lane waits itself.
const ROOM: usize = 8;

/// Where a lane leaves what keeps it waiting.
#[derive(Clone, Debug)]
pub(super) struct Stragglers {
    room: Arc<Semaphore>,
    slow: Arc<SlowQueues>,
    slow_lane: SlowLane,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// The way to the slow lane, which ends when all strong senders are gone.
#[derive(Clone, Debug)]
enum SlowLane {
    Other(mpsc::Sender<Request>),
    /// It is the lane that asks, which must not keep itself alive.
    Own(mpsc::WeakSender<Request>),
}

/// The right to leave one batch.
pub(super) struct Place {
    permit: OwnedSemaphorePermit,
    slow_lane: mpsc::Sender<Request>,
}

impl Stragglers {
    /// For lanes that serve all queues but the slow ones.
    pub(super) fn new(
        slow: Arc<SlowQueues>,
        slow_lane: mpsc::Sender<Request>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let room = Arc::new(Semaphore::new(ROOM));
        Self { room, slow, slow_lane: SlowLane::Other(slow_lane), tasks, shutdown }
    }

    /// For the slow lane itself.
    pub(super) fn of_slow_lane(&self) -> Self {
        let slow_lane = match &self.slow_lane {
            SlowLane::Other(sender) => sender.downgrade(),
            SlowLane::Own(sender) => sender.clone(),
        };
        let room = Arc::new(Semaphore::new(ROOM));
        Self { room, slow_lane: SlowLane::Own(slow_lane), ..self.clone() }
    }

    /// Hands requests for slow queues on to the slow lane, as far as it has room for them.
    pub(super) fn divert(&self, requests: &mut Vec<Request>) {
        let SlowLane::Other(slow_lane) = &self.slow_lane else { return };
        let now = Instant::now();
        let slow = requests.extract_if(.., |request| self.slow.contains(&request.queue, now));
        let mut kept = Vec::new();
        for request in slow {
            if let Err(full) = slow_lane.try_send(request) {
                kept.push(full.into_inner());
            }
        }
        requests.append(&mut kept);
    }

    /// A batch was confirmed without delay.
    pub(super) fn prompt(&self, batch: &Batch) {
        // Other lanes serve no slow queues.
        if matches!(self.slow_lane, SlowLane::Own(_)) {
            self.slow.clear(batch.queues());
        }
    }

    /// Waits for room. `None`: the transport closes, and the slow lane takes nothing more.
    pub(super) async fn place(&self) -> Option<Place> {
        let slow_lane = match &self.slow_lane {
            SlowLane::Other(sender) => sender.clone(),
            SlowLane::Own(sender) => sender.upgrade()?,
        };
        let permit = self.room.clone().acquire_owned().await.ok()?;
        Some(Place { permit, slow_lane })
    }

    /// Leaves a batch behind. Its channel belongs to it from now on.
    pub(super) fn leave(&self, batch: Batch, link: Arc<Link>, place: Place) {
        self.slow.mark(batch.unconfirmed(), Instant::now());
        let straggler = Straggler { batch, link, place };
        self.tasks.spawn(self.shutdown.clone().run_until_cancelled_owned(straggler.run()));
    }
}

/// A batch that was left behind.
struct Straggler {
    batch: Batch,
    link: Arc<Link>,
    place: Place,
}

impl Straggler {
    /// Answers as fates become certain, until none is missing or nobody waits any more.
    async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                () = self.link.ended().cancelled() => break,
                more = self.batch.news() => {
                    self.batch.settle();
                    if !more {
                        break;
                    }
                }
                // To look whether the callers have gone.
                () = sleep(STALL) => {}
            }
            if self.batch.is_abandoned() {
                return;
            }
        }
        self.batch.settle();
        self.publish_again().await;
    }

    /// The channel or the link is gone: what is not certain goes out again.
    async fn publish_again(self) {
        let Self { batch, place: Place { permit, slow_lane }, .. } = self;
        // The slow lane may need the room before it takes requests.
        drop(permit);
        for mut request in batch.into_requests() {
            tokio::select! {
                place = slow_lane.reserve() => match place {
                    Ok(place) => place.send(request),
                    Err(_) => return,
                },
                () = request.reply.closed() => {}
            }
        }
    }
}
