//! Settles the answers of targets: many at once, each row by itself.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::parking::{Parking, wait_until};
use super::{Pending, retrying};
use crate::core::Core;
use crate::event::{Event, Refusal};
use crate::id::{CredentialKey, EventId};
use crate::ledger::{Answer, InFlight, RevisionRecord};
use crate::management::Management;
use crate::settlement::{self, Settlement, Unsettled};
use crate::wire::{AckReceived, AckResult, Held};

/// Most answers of one round.
const BATCH: usize = 128;

/// After so many failures (about ten seconds) an answer is written into the books and let go: a
/// database that stays away must not fill the prefetch window. The next sync settles it.
const PATIENCE: u32 = 6;

type Item = Pending<AckReceived>;

/// Runs until the channel is closed and nothing is parked, or `core.abort` is cancelled.
pub(super) async fn run(core: Arc<Core>, mut received: mpsc::Receiver<Item>) {
    let mut parked = Parking::new();
    let mut open = true;
    while open || !parked.is_empty() {
        let mut fresh = Vec::new();
        tokio::select! {
            biased;
            () = core.abort.cancelled() => return,
            () = wait_until(parked.next_due()) => {}
            count = received.recv_many(&mut fresh, BATCH), if open => open = count > 0,
        }
        let mut batch: Vec<(Item, u32)> = fresh.into_iter().map(|item| (item, 0)).collect();
        for due in parked.take_due() {
            batch.extend(due.items.into_iter().map(|item| (item, due.failures)));
        }
        round(&core, batch, &mut parked).await;
    }
}

/// What becomes of an answer.
enum Verdict {
    Settle(Settlement),
    /// It counts for nothing.
    Drop(Event),
    /// It cannot be told yet.
    Later(&'static str),
}

async fn round(core: &Core, batch: Vec<(Item, u32)>, parked: &mut Parking<EventId, Item>) {
    let Some(management) = &core.management else {
        return drop_all(core, batch).await;
    };
    let ids: Vec<EventId> = batch.iter().map(|((ack, _), _)| ack.ack_event_id.clone()).collect();
    let flights = match core.ledger.flights(&ids.iter().collect::<Vec<_>>()).await {
        Ok(flights) => flights,
        Err(error) => {
            retrying(core, "looking up answered events", &error);
            return park_all(core, batch, parked);
        }
    };
    let mut credible = Vec::new();
    for ((item, failures), flight) in batch.into_iter().zip(flights) {
        match attribute(&item.0, flight) {
            Ok(flight) => credible.push(Credible { item, failures, flight }),
            Err(refused) => {
                core.hub.emit(refused);
                item.1.ack().await;
            }
        }
    }
    // Before the locks: whoever records "sent" needs them too, and a decision that waits for one
    // would keep the two apart for ever.
    for Credible { item, .. } in &credible {
        core.gate.answered(&item.0.ack_event_id).await;
    }
    settle(core, &**management, credible, parked).await;
}

/// An answer from the event's own target.
struct Credible {
    item: Item,
    failures: u32,
    flight: InFlight,
}

async fn settle(
    core: &Core,
    management: &dyn Management,
    credible: Vec<Credible>,
    parked: &mut Parking<EventId, Item>,
) {
    let keys: Vec<CredentialKey> = credible.iter().map(|c| c.flight.key.clone()).collect();
    let _guards = core.locks.settle(keys.iter()).await;
    // Under the locks: what was read before may have been replaced while they were waited for.
    let revisions = match core.ledger.revisions(&keys.iter().collect::<Vec<_>>()).await {
        Ok(revisions) => revisions,
        Err(error) => {
            retrying(core, "looking up answered events", &error);
            let batch = credible.into_iter().map(|c| (c.item, c.failures)).collect();
            return park_all(core, batch, parked);
        }
    };
    let (mut settlements, mut settling) = (Vec::new(), Vec::new());
    for (Credible { item, failures, flight }, revision) in credible.into_iter().zip(revisions) {
        match judge(core, &item.0, flight, revision) {
            Verdict::Settle(settlement) => {
                settlements.push(settlement);
                settling.push((item, failures));
            }
            Verdict::Drop(event) => {
                core.hub.emit(event);
                item.1.ack().await;
            }
            Verdict::Later(why) => {
                retrying(core, "settling an answer", &why);
                parked.park(core, item.0.ack_event_id.clone(), item, failures);
            }
        }
    }
    let results = settlement::settle(core, management, &settlements).await;
    for (((item, failures), settlement), result) in
        settling.into_iter().zip(settlements).zip(results)
    {
        conclude(core, item, failures, settlement, result, parked).await;
    }
}

/// Whether an answer comes from where its event went.
fn attribute(ack: &AckReceived, flight: Option<InFlight>) -> Result<InFlight, Event> {
    let refuse = |reason, detail: &str| {
        let sender = Some(ack.sender.clone());
        Err(Event::Refused { reason, detail: detail.to_owned(), sender })
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
    Ok(flight)
}

/// Decides by the books alone.
fn judge(core: &Core, ack: &AckReceived, flight: InFlight, known: RevisionRecord) -> Verdict {
    if known.supersedes(flight.revision) {
        let InFlight { key, target, revision, .. } = flight;
        return Verdict::Drop(Event::AckOutdated { key, target, revision });
    }
    if known.may_replace(flight.revision, core.clock.now_ms(), core.ledger.lease()) {
        return Verdict::Later("a decision about its credential is being made");
    }
    let answer = answer(core, ack, &flight);
    Verdict::Settle(Settlement { flight, event_id: ack.ack_event_id.clone(), answer })
}

/// A target that holds something else does not hold this revision, whatever word it uses.
fn answer(core: &Core, ack: &AckReceived, flight: &InFlight) -> Answer {
    match &ack.result {
        AckResult::Applied => Answer::Applied { signed: ack.signed },
        AckResult::Held(held) if is_ours(core, held, flight) => {
            Answer::Applied { signed: ack.signed }
        }
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

async fn conclude(
    core: &Core,
    item: Item,
    failures: u32,
    settlement: Settlement,
    result: Result<(), Unsettled>,
    parked: &mut Parking<EventId, Item>,
) {
    let Err(error) = result else {
        return item.1.ack().await;
    };
    retrying(core, "settling an answer", &error);
    if failures >= PATIENCE || !error.is_transient() {
        let Settlement { flight, event_id, answer } = settlement;
        let recorded = core.ledger.record_answers(&[(flight, event_id, answer)]).await;
        if recorded.iter().all(Result::is_ok) {
            return item.1.ack().await;
        }
    }
    parked.park(core, item.0.ack_event_id.clone(), item, failures);
}

/// A receive-only peer sends nothing, so nothing can be answered.
async fn drop_all(core: &Core, batch: Vec<(Item, u32)>) {
    for ((ack, delivery), _) in batch {
        core.hub.emit(Event::Refused {
            reason: Refusal::UnknownAck,
            detail: "ackEventId: this peer is receive-only".into(),
            sender: Some(ack.sender),
        });
        delivery.ack().await;
    }
}

fn park_all(core: &Core, batch: Vec<(Item, u32)>, parked: &mut Parking<EventId, Item>) {
    for (item, failures) in batch {
        parked.park(core, item.0.ack_event_id.clone(), item, failures);
    }
}
