//! Watches the own stores. One that was lost, or may have lost something, has another identity than before: the
//! sources of what it held are told, so that they ask again, and a full peer fills it with its own decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::core::Core;
use crate::error::StoreError;
use crate::event::Event;
use crate::id::{EventId, PeerQueue, Track};
use crate::ledger::{Seen, Sighting};
use crate::secret::PropagationSecret;
use crate::store::StoreId;
use crate::transport::PublishError;
use crate::wire::{AckEvent, StoreNamed};

/// So many sources are told at once.
const AT_ONCE: usize = 64;

/// Sources are told once more after this time: what they were told may have gone with a queue that somebody
/// deleted.
const ANNOUNCED_AGAIN: Duration = Duration::from_secs(12 * 3600);

/// Looks at each store this often, until the peer closes.
pub(crate) async fn run(core: Arc<Core>, every: Duration, tasks: TaskTracker) {
    let mut acted_on: BTreeMap<Track, (StoreId, Instant)> = BTreeMap::new();
    loop {
        for store in &core.stores {
            // A store that is away is looked at again; whoever needs it says that it is away.
            if core.identify(&**store).await.is_err() {
                continue;
            }
            let track = store.track();
            let Some(found) = core.identities.get(track) else { continue };
            let before = acted_on.get(&track).filter(|(before, _)| *before == found);
            let again = before.map(|(_, at)| at.elapsed() > ANNOUNCED_AGAIN);
            if again != Some(false)
                && act(&core, track, &found, again.is_some(), &tasks).await.is_ok()
            {
                acted_on.insert(track, (found, Instant::now()));
            }
        }
        tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Sees to it that all hear of a store who have to; `again`: also those that were told.
async fn act(
    core: &Arc<Core>,
    track: Track,
    found: &StoreId,
    again: bool,
    tasks: &TaskTracker,
) -> Result<(), StoreError> {
    if core.management.is_some() {
        let (holder, store) = (core.own.clone(), found.clone());
        let own = Sighting { holder, track, store, proof: Seen::Proved };
        core.ledger.sight(&[own]).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    }
    // Kept with the store: a peer that is merely started anew has nothing to tell.
    if again || core.ledger.announced(track).await?.as_ref() != Some(found) {
        let (core, found) = (core.clone(), found.clone());
        tasks.spawn(async move {
            let stop = core.stop.clone();
            stop.run_until_cancelled(announce(&core, track, found)).await;
        });
    }
    Ok(())
}

/// Tells all sources. What a closing or a crash cuts short is done again after the next start.
async fn announce(core: &Core, track: Track, found: StoreId) {
    let mut sources = core.identities.sources();
    sources.extend(peers(core).await);
    sources.remove(&core.own);
    let named = StoreNamed { track, id: found };
    let told = stream::iter(sources).map(|source| tell(core, source, &named));
    let told = told.buffer_unordered(AT_ONCE).all(|told| async move { told }).await;
    if !told {
        return;
    }
    if let Err(error) = core.ledger.note_announced(track, &named.id).await {
        // Told once more after the next start: no harm.
        tracing::debug!("not noted that sources were told of a store: {error}");
    }
}

/// The peers in the directory.
async fn peers(core: &Core) -> BTreeSet<PeerQueue> {
    let Some(management) = &core.management else { return BTreeSet::new() };
    let mut failures = 0;
    loop {
        match management.fetch_peers().await {
            Ok(peers) => return peers.into_iter().collect(),
            Err(error) => {
                let reason = error.to_string();
                core.hub.emit(Event::Retrying { what: "reading the directory of peers", reason });
                if !error.is_transient() || !core.pause(failures).await {
                    return BTreeSet::new();
                }
            }
        }
        failures = failures.saturating_add(1);
    }
}

/// Tells one source, as soon as it can be told. One without a queue has sent nothing yet, and hears of the store
/// with the answer to its first event. Returns whether there is nothing left to tell it; not, if the store is
/// another one again.
async fn tell(core: &Core, source: PeerQueue, named: &StoreNamed) -> bool {
    let mut failures = 0;
    while core.identities.get(named.track).as_ref() == Some(&named.id) {
        // Looked at with every try, not waited for: those who wait for one thing are woken in no order.
        if core.transport.health().borrow().publisher.is_up() {
            match publish(core, &source, named).await {
                Ok(()) | Err(PublishError::Unroutable) => return true,
                Err(PublishError::Closed) => return false,
                Err(PublishError::Refused | PublishError::Unavailable) => {}
            }
        }
        if !core.pause(failures).await {
            return false;
        }
        failures = failures.saturating_add(1);
    }
    false
}

async fn publish(core: &Core, source: &PeerQueue, named: &StoreNamed) -> Result<(), PublishError> {
    let secret = core.secret_of_source(source, false).await;
    // The directory is away: as if the broker were.
    let secret = secret.map_err(|_| PublishError::Unavailable)?;
    core.transport.publish(source, announcement(core, named, secret.as_ref())).await
}

/// An answer to no event: it names itself as what it answers. Peers that do not know of it drop it, as they drop
/// every answer to an event that they did not send.
fn announcement(core: &Core, named: &StoreNamed, secret: Option<&PropagationSecret>) -> Vec<u8> {
    let event_id = EventId::random(&*core.entropy);
    let ack = AckEvent {
        event_id: &event_id,
        ts: core.timestamp(),
        propagation_secret: secret.map_or("", PropagationSecret::expose),
        sender_amqp_queue: &core.own,
        op: AckEvent::OP,
        ack_event_id: &event_id,
        ack_result: "applied",
        ack_reason: None,
        held: None,
        store: Some(named.clone()),
    };
    ack.to_body()
}
