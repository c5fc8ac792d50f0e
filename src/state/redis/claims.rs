//! Reads and claims of many callers at once.
//!
//! A busy verifier has many requests under way, and each needs one answer. While a batch waits for
//! its answers, newcomers gather and go out together when it is back: one write, one read and one
//! wake-up for all of them, where each on its own would have cost as much. A caller that finds
//! little under way goes out at once.
//!
//! Only callers on one Tokio runtime wait for each other: a runtime that nobody drives at the moment
//! holds up nobody else's.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::{ConnectionLike, ConnectionManager};
use tokio::runtime::{Handle, Id};
use tokio::sync::oneshot;

use super::batch::{Ask, Batch, Told};
use super::store_error;
use crate::error::StoreError;

/// While the turns under way count for fewer callers than this, the next one goes out at once: with
/// few, nobody waits for another's answer. With more, newcomers gather, because large batches cost
/// less.
const FEW: usize = 8;

/// Most callers of one batch: bounds how long the first waits for the last one's commands. As many as
/// that do not wait for a turn that is under way. So nobody waits to be sent for longer than one answer
/// takes, and a distant server is not asked for 256 at a time.
const LARGEST: usize = 256;

/// Sends the commands of callers that come at the same time together. Clones share the queues.
#[derive(Clone)]
pub(super) struct Claims {
    connection: ConnectionManager,
    queues: Queues,
}

/// One for each runtime on which a batch is under way.
type Queues = Arc<Mutex<HashMap<Id, Queue>>>;

#[derive(Default)]
struct Queue {
    waiting: Vec<Caller>,
    /// How many callers the turns under way count for together. A turn that has not run yet counts for
    /// one, even if another one took its caller.
    under_way: usize,
}

struct Caller {
    ask: Ask,
    answer: oneshot::Sender<Told>,
}

impl Claims {
    pub(super) fn new(connection: ConnectionManager) -> Self {
        Self { connection, queues: Arc::default() }
    }

    /// What a caller is told. An error of the server concerns only those who asked for what it
    /// refuses.
    ///
    /// # Cancellation
    /// A dropped call whose commands were not sent yet takes them back.
    pub(super) async fn send(&self, ask: Ask) -> Told {
        let none = |_| StoreError::permanent("Redis is used outside a Tokio runtime");
        let runtime = Handle::try_current().map_err(none)?;
        let (answer, answered) = oneshot::channel();
        let starts = {
            let mut queues = lock(&self.queues);
            let queue = queues.entry(runtime.id()).or_default();
            queue.waiting.push(Caller { ask, answer });
            let starts = queue.under_way < FEW || queue.waiting.len().is_multiple_of(LARGEST);
            queue.under_way += usize::from(starts);
            starts
        };
        if starts {
            // A task of its own, so that a caller that gives up does not take others with it.
            let turn = Turn { runtime: runtime.id(), queues: self.queues.clone(), callers: 1 };
            runtime.spawn(turn.run(self.connection.clone()));
        }
        let ended = |_| StoreError::transient("the connection to Redis was closed");
        answered.await.map_err(ended)?
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").finish_non_exhaustive()
    }
}

/// The right to have a batch under way.
struct Turn {
    runtime: Id,
    queues: Queues,
    /// How many callers it counts for: the one who started it, and then those of its batch.
    callers: usize,
}

impl Turn {
    /// Sends batches until nobody waits.
    async fn run(mut self, mut connection: ConnectionManager) {
        while let Some(callers) = self.next() {
            exchange(&mut connection, callers).await;
        }
    }

    /// Who goes next. When that is nobody the turn is given back in the same moment: whoever comes then
    /// starts one, or is taken by one that is still under way.
    fn next(&mut self) -> Option<Vec<Caller>> {
        let queues = self.queues.clone();
        let mut queues = lock(&queues);
        let queue = queues.entry(self.runtime).or_default();
        // Who gave up meanwhile must not use up a name.
        queue.waiting.retain(|caller| !caller.answer.is_closed());
        let later = match queue.waiting.len() {
            // Room for as many again, since the next batch will be about as large.
            all @ ..=LARGEST => Vec::with_capacity(all),
            _ => queue.waiting.split_off(LARGEST),
        };
        let callers = std::mem::replace(&mut queue.waiting, later);
        queue.under_way += callers.len();
        self.give_back(&mut queues);
        self.callers = callers.len();
        (!callers.is_empty()).then_some(callers)
    }

    /// Counts for nobody any more. A queue goes with its last turn: without one nobody is left to
    /// send what waits, and with the queue go its callers, who are told.
    fn give_back(&mut self, queues: &mut HashMap<Id, Queue>) {
        if let Some(queue) = queues.get_mut(&self.runtime) {
            queue.under_way -= std::mem::take(&mut self.callers);
            if queue.under_way == 0 {
                queues.remove(&self.runtime);
            }
        }
    }
}

/// For a task that did not come to its end, because its runtime did.
impl Drop for Turn {
    fn drop(&mut self) {
        if self.callers > 0 {
            let queues = self.queues.clone();
            self.give_back(&mut lock(&queues));
        }
    }
}

fn lock(queues: &Queues) -> MutexGuard<'_, HashMap<Id, Queue>> {
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One round trip for all. Whoever is not answered by it hears why.
async fn exchange(connection: &mut ConnectionManager, callers: Vec<Caller>) {
    let (asks, told): (Vec<_>, Vec<_>) =
        callers.into_iter().map(|caller| (caller.ask, caller.answer)).unzip();
    let batch = Batch::of(&asks);
    drop(asks);
    let count = batch.pipeline.len();
    match connection.req_packed_commands(&batch.pipeline, 0, count).await {
        Ok(answers) => {
            for (answer, told) in batch.told(answers).zip(told) {
                // A caller that is gone needs no answer.
                let _ = told.send(answer);
            }
        }
        Err(error) => {
            for told in told {
                let _ = told.send(Err(store_error(error.clone())));
            }
        }
    }
}
