//! Settles the answers of targets: many at once, each row by itself.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::parking::{Parking, wait_until};
use super::refusal::{self, Refused};
use super::{Pending, retrying, sightings};
use crate::core::Core;
use crate::event::{Event, Refusal};
use crate::id::EventId;
use crate::ledger::{Answer, InFlight};
use crate::mutation::{Mutation, is_on};
use crate::settlement::{self, Concluded, Settlement, Unsettled};
use crate::transport::Delivery;
use crate::wire::{AckReceived, AckResult, Held};

/// Most answers of one round.
const BATCH: usize = 128;

/// Most rounds at once: a call that hangs holds up its own round and no other.
const ROUNDS: usize = 4;

/// After so many failures (about ten seconds) an answer is written into the books and let go: a
/// database that stays away must not fill the prefetch window. The next sync settles it.
const PATIENCE: u32 = 6;

type Item = Pending<AckReceived>;

/// Answers and how often each has failed.
pub(super) type Batch = Vec<(Item, u32)>;

/// Runs until the channel is closed and nothing is left, or `core.abort` is cancelled.
pub(super) async fn run(core: Arc<Core>, mut received: mpsc::Receiver<Item>, tasks: TaskTracker) {
    let mut parked: Parking<EventId, AckReceived> = Parking::new();
    let mut rounds: FuturesUnordered<BoxFuture<'static, Batch>> = FuturesUnordered::new();
    let mut open = true;
    while open || !parked.is_empty() || !rounds.is_empty() {
        let mut fresh = Vec::new();
        let free = rounds.len() < ROUNDS;
        tokio::select! {
            biased;
            () = core.abort.cancelled() => return,
            Some(left) = rounds.next() => park(&core, &mut parked, left),
            () = wait_until(parked.next_due()), if free => {}
            count = received.recv_many(&mut fresh, BATCH), if free && open => open = count > 0,
        }
        let mut batch: Batch = fresh.into_iter().map(|item| (item, 0)).collect();
        if rounds.len() < ROUNDS {
            let due = parked.take_due().into_iter();
            batch.extend(due.flat_map(|d| d.items.into_iter().map(move |item| (item, d.failures))));
        }
        if !batch.is_empty() {
            rounds.push(round(core.clone(), batch, tasks.clone()).boxed());
        }
    }
}

fn park(core: &Core, parked: &mut Parking<EventId, AckReceived>, left: Batch) {
    for (item, failures) in left {
        parked.park(core, item.0.ack_event_id.clone(), item, failures);
    }
}

/// Settles what can be settled and returns what is left for later.
async fn round(core: Arc<Core>, batch: Batch, tasks: TaskTracker) -> Batch {
    let Some(management) = core.management.clone() else {
        return drop_all(&core, batch, &tasks).await;
    };
    let (batch, mut left) = sightings::announced(&core, batch, &tasks).await;
    let ids: Vec<&EventId> = batch.iter().map(|((ack, _), _)| &ack.ack_event_id).collect();
    let flights = match core.ledger.flights(&ids).await {
        Ok(flights) => flights,
        Err(error) => {
            retrying(&core, "looking up answered events", &error);
            left.extend(batch);
            return left;
        }
    };
    let (mut settlements, mut settling) = (Vec::new(), Vec::new());
    for ((item, failures), flight) in batch.into_iter().zip(flights) {
        match judge(&core, &item.0, flight) {
            Ok(settlement) => {
                settlements.push(settlement);
                settling.push((item, failures));
            }
            Err(refused) => let_go(&core, refused, item.1, &tasks),
        }
    }
    let (settling, settlements, waiting) = sightings::answered(&core, settling, settlements).await;
    left.extend(waiting);
    let results = settlement::settle(&core, &*management, &settlements).await;
    left.extend(conclude(&core, settling, settlements, results).await);
    left
}

/// Decides by the event's record alone whether the answer counts.
fn judge(core: &Core, ack: &AckReceived, flight: Option<InFlight>) -> Result<Settlement, Refused> {
    let refuse = |reason, detail: &str| {
        let sender = Some(ack.sender.clone());
        Err(Refused { reason, detail: detail.to_owned(), sender })
    };
    let Some(flight) = flight else {
        return refuse(Refusal::UnknownAck, "ackEventId: expected an event in flight");
    };
    if flight.target != ack.sender {
        return refuse(Refusal::ForeignAck, "senderAmqpQueue: expected the event's target");
    }
    if !ack.signed && !flight.receive_only {
        return refuse(Refusal::Unsigned, "propagationSecret: expected this peer's own");
    }
    let answer = answer(core, ack, &flight);
    Ok(Settlement { flight, event_id: ack.ack_event_id.clone(), answer })
}

/// A target that holds something else does not hold this revision, whatever word it uses.
fn answer(core: &Core, ack: &AckReceived, flight: &InFlight) -> Answer {
    let store = ack.store.as_ref().filter(|store| store.track == flight.key.track);
    let applied =
        Answer::Applied { signed: ack.signed, store: store.map(|named| named.id.clone()) };
    match &ack.result {
        AckResult::Applied => applied,
        AckResult::Held(_) if is_on(Mutation::HeldIgnored) => applied,
        AckResult::Held(held) if is_ours(core, held, flight) => applied,
        AckResult::Held(held) => Answer::Failed { reason: superseded(held) },
        AckResult::Error(reason) => Answer::Failed { reason: reason.clone() },
    }
}

/// The same revision under another event id, from before the books were lost.
fn is_ours(core: &Core, held: &Held, flight: &InFlight) -> bool {
    held.ts == flight.revision.into() && held.sender_amqp_queue.as_ref() == Some(&core.own)
}

fn superseded(held: &Held) -> String {
    let source = held.sender_amqp_queue.as_ref().map_or("another source", |queue| queue.as_str());
    format!("the target holds a newer version, of {} from {source}", held.ts)
}

/// Lets go of the deliveries whose answers are settled, and of those that the books keep for the
/// next sync. Returns the others.
async fn conclude(
    core: &Core,
    settling: Batch,
    settlements: Vec<Settlement>,
    results: Vec<Result<Concluded, Unsettled>>,
) -> Batch {
    let mut left = Vec::new();
    let mut why = None;
    for (((item, failures), settlement), result) in
        settling.into_iter().zip(settlements).zip(results)
    {
        let let_go = match result {
            Ok(Concluded::Recorded) => true,
            Ok(Concluded::Outdated) => {
                let InFlight { key, target, revision, .. } = settlement.flight;
                core.hub.emit(Event::AckOutdated { key, target, revision });
                true
            }
            Err(error) => {
                let patient = error.is_transient() && failures < PATIENCE;
                why = Some(error);
                is_on(Mutation::AnswerDropped) || !patient && kept_in_books(core, settlement).await
            }
        };
        if let_go {
            item.1.ack().await;
        } else {
            left.push((item, failures));
        }
    }
    if let Some(error) = why {
        retrying(core, "settling answers", &error);
    }
    left
}

async fn kept_in_books(core: &Core, settlement: Settlement) -> bool {
    let Settlement { flight, event_id, answer } = settlement;
    let recorded = core.ledger.record_answers(&[(flight, event_id, answer)]).await;
    recorded.iter().all(Result::is_ok)
}

/// A receive-only peer sends nothing, so nothing can be answered.
async fn drop_all(core: &Arc<Core>, batch: Batch, tasks: &TaskTracker) -> Batch {
    for ((ack, delivery), _) in batch {
        // Who lost a store tells all that may have sent it something: no fault if we did not.
        if ack.announces {
            delivery.ack().await;
            continue;
        }
        let detail = "ackEventId: this peer is receive-only".into();
        let (reason, sender) = (Refusal::UnknownAck, Some(ack.sender));
        let_go(core, Refused { reason, detail, sender }, delivery, tasks);
    }
    Vec::new()
}

/// On a task of its own: the record of a refusal holds up no other answer.
pub(super) fn let_go(core: &Arc<Core>, refused: Refused, delivery: Delivery, tasks: &TaskTracker) {
    let core = core.clone();
    tasks.spawn(async move { refusal::let_go(&core, refused, delivery).await });
}
