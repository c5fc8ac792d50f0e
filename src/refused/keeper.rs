//! One task writes the records: a few at a time, now and then, as far as the store takes them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::record::Record;
use super::{Guard, Refused, RefusedMessages};
use crate::event::{Event, EventHub};

/// Most records that wait to be written, and so that are written at once.
const QUEUE: usize = 32;
/// From one write to the next.
const PAUSE: Duration = Duration::from_millis(250);
/// How long one write may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long a message may wait for its record: longer than a pause, and much less than a second.
const MOMENT: Duration = Duration::from_millis(400);

/// Where refused messages are handed in. Handing in never waits.
pub(crate) struct Refusals {
    pub(crate) messages: RefusedMessages,
    queue: mpsc::Sender<Waiting>,
    lost: Arc<AtomicU64>,
    finished: CancellationToken,
}

/// Writes what was handed in. Ends when it is told so and nothing waits any more.
pub(crate) struct Keeper {
    messages: RefusedMessages,
    queue: mpsc::Receiver<Waiting>,
    lost: Arc<AtomicU64>,
    finished: CancellationToken,
    hub: EventHub,
}

struct Waiting {
    record: Record,
    written: oneshot::Sender<()>,
}

/// Tells when a record was written.
#[must_use = "waiting for it keeps the record ahead of what becomes of the message"]
pub(crate) struct Written(Option<oneshot::Receiver<()>>);

impl Written {
    /// Waits until the record is written or lost, at most for a moment.
    pub(crate) async fn for_a_moment(self) {
        if let Some(written) = self.0 {
            // Lost, or late: the message does not wait for it.
            let _ = timeout(MOMENT, written).await;
        }
    }
}

impl Refusals {
    /// A queue for the records, and what empties it.
    pub(crate) fn new(messages: RefusedMessages, hub: EventHub) -> (Self, Keeper) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let (lost, finished) = (Arc::<AtomicU64>::default(), CancellationToken::new());
        let keeper = Keeper {
            messages: messages.clone(),
            queue,
            lost: lost.clone(),
            finished: finished.clone(),
            hub,
        };
        (Self { messages, queue: sender, lost, finished }, keeper)
    }

    /// Hands a message in. When there is no room, its record is lost and counted, and the message is
    /// not even looked at: a flood costs nothing here.
    pub(crate) fn keep(&self, refused: &Refused<'_>, guard: Guard) -> Written {
        let Ok(place) = self.queue.try_reserve() else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return Written(None);
        };
        let (written, when) = oneshot::channel();
        place.send(Waiting { record: Record::of(refused, guard), written });
        Written(Some(when))
    }

    /// No more will be handed in.
    pub(crate) fn finish(&self) {
        self.finished.cancel();
    }
}

impl Keeper {
    /// Runs until the end, or until `abort` is cancelled.
    pub(crate) async fn run(self, abort: CancellationToken) {
        abort.run_until_cancelled(self.write_all()).await;
    }

    async fn write_all(mut self) {
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                count = self.queue.recv_many(&mut batch, QUEUE) => if count == 0 { return },
                () = self.finished.cancelled() => return,
            }
            self.write(batch).await;
            self.tell();
            tokio::select! {
                () = self.finished.cancelled() => {}
                () = sleep(PAUSE) => {}
            }
        }
    }

    async fn write(&self, batch: Vec<Waiting>) {
        let (records, waiting): (Vec<Record>, Vec<oneshot::Sender<()>>) =
            batch.into_iter().map(|waiting| (waiting.record, waiting.written)).unzip();
        let why = match timeout(DEADLINE, self.messages.add(&records)).await {
            Ok(Ok(())) => {
                for written in waiting {
                    // Nobody may wait any more.
                    let _ = written.send(());
                }
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::debug!("records of refused messages cannot be written: {why}");
        let lost = u64::try_from(records.len()).unwrap_or(u64::MAX);
        self.lost.fetch_add(lost, Ordering::Relaxed);
    }

    /// Says how many records were lost since it was said last.
    fn tell(&self) {
        let count = self.lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            self.hub.emit(Event::RefusedNotKept { count });
        }
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
