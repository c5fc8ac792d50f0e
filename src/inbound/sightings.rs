//! What answers and announcements say of their senders' stores.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::acks::{Batch, let_go};
use super::refusal::Refused;
use super::retrying;
use crate::core::Core;
use crate::error::StoreError;
use crate::event::{Event, Refusal};
use crate::id::{PeerQueue, Track};
use crate::ledger::{Answer, InFlight, Seen, Sighting, Standing};
use crate::settlement::Settlement;
use crate::wire::AckReceived;

/// Takes note of announcements and lets go of them. Returns the answers, and what is left for later.
pub(super) async fn announced(
    core: &Arc<Core>,
    batch: Batch,
    tasks: &TaskTracker,
) -> (Batch, Batch) {
    let (announcements, answers): (Batch, Batch) =
        batch.into_iter().partition(|((ack, _), _)| ack.announces);
    if announcements.is_empty() {
        return (answers, Batch::new());
    }
    let sightings: Vec<Sighting> =
        announcements.iter().filter_map(|((ack, _), _)| announcement(ack)).collect();
    let (mut left, mut why) = (Batch::new(), None);
    let sighted = sight(core, &sightings).await;
    for (((ack, delivery), failures), standing) in announcements.into_iter().zip(sighted) {
        match standing {
            Ok(standing) => {
                if standing == Standing::Unbelieved {
                    let detail = "propagationSecret: expected this peer's own".into();
                    let (reason, sender) = (Refusal::Unsigned, Some(ack.sender));
                    let_go(core, Refused { reason, detail, sender }, delivery, tasks);
                } else {
                    delivery.ack().await;
                }
            }
            Err(error) => {
                // What the books refuse for good they will refuse again.
                if error.is_transient() {
                    left.push(((ack, delivery), failures));
                } else {
                    delivery.ack().await;
                }
                why = Some(error);
            }
        }
    }
    tell(core, why);
    (answers, left)
}

fn announcement(ack: &AckReceived) -> Option<Sighting> {
    let named = ack.store.clone()?;
    let proof = if ack.signed { Seen::Proved } else { Seen::Unproved };
    Some(Sighting { holder: ack.sender.clone(), track: named.track, store: named.id, proof })
}

/// Takes note of the stores that answers came out of, before those are settled. Returns the answers that count,
/// their settlements, and what is left for later. An answer out of a store that its target may have lost since
/// proves nothing: it is let go of, and the event is sent again when its time has come.
pub(super) async fn answered(
    core: &Core,
    settling: Batch,
    settlements: Vec<Settlement>,
) -> (Batch, Vec<Settlement>, Batch) {
    let mut sightings: Vec<Sighting> = Vec::new();
    for sighting in settlements.iter().filter_map(sighting) {
        // Nearly always all answers of a batch name the same few stores.
        if !sightings.contains(&sighting) {
            sightings.push(sighting);
        }
    }
    if sightings.is_empty() {
        return (settling, settlements, Batch::new());
    }
    let sighted = sight(core, &sightings).await;
    let standings: HashMap<_, _> = sightings.iter().map(name).zip(sighted).collect();
    let (mut counting, mut counted, mut left, mut why) =
        (Batch::new(), Vec::new(), Batch::new(), None);
    for (item, settlement) in settling.into_iter().zip(settlements) {
        let seen = sighting(&settlement);
        match seen.as_ref().and_then(|seen| standings.get(&name(seen))) {
            Some(Ok(Standing::Doubtful)) => {
                let InFlight { key, target, revision, .. } = settlement.flight;
                core.hub.emit(Event::AckOutdated { key, target, revision });
                item.0.1.ack().await;
            }
            Some(Err(error)) if error.is_transient() => {
                why = Some(error.clone());
                left.push(item);
            }
            None | Some(Ok(_) | Err(_)) => {
                counting.push(item);
                counted.push(settlement);
            }
        }
    }
    tell(core, why);
    (counting, counted, left)
}

fn sighting(settlement: &Settlement) -> Option<Sighting> {
    let Settlement { flight, answer: Answer::Applied { signed, store: Some(store) }, .. } =
        settlement
    else {
        return None;
    };
    // An unsigned answer got here because its target is declared receive-only.
    let proof = if *signed { Seen::Proved } else { Seen::ByReceiveOnly };
    let (holder, track, store) = (flight.target.clone(), flight.key.track, store.clone());
    Some(Sighting { holder, track, store, proof })
}

async fn sight(core: &Core, sightings: &[Sighting]) -> Vec<Result<Standing, StoreError>> {
    let sighted = core.ledger.sight(sightings).await;
    for (seen, standing) in sightings.iter().zip(&sighted) {
        if matches!(standing, Ok(Standing::Replaced)) {
            let (target, track) = (seen.holder.clone(), seen.track);
            core.hub.emit(Event::TargetStoreReplaced { target, track });
        }
    }
    sighted
}

fn name(seen: &Sighting) -> (PeerQueue, Track, String) {
    (seen.holder.clone(), seen.track, seen.store.as_str().to_owned())
}

fn tell(core: &Core, why: Option<StoreError>) {
    if let Some(error) = why {
        retrying(core, "noting a target's store", &error);
    }
}
