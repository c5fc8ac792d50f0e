//! From the own queue: receive, decide, apply or settle, answer, and only then let go.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::core::Core;
use crate::event::Event;
use crate::id::Track;
use crate::transport::{Deliveries, Delivery};
use crate::wire::ApplyReceived;

mod acks;
mod answer;
mod apply;
mod parking;
mod refusal;
mod sightings;
mod triage;

use triage::{Triage, triage};

/// An understood message and the delivery that is settled with it.
type Pending<M> = (M, Delivery);

/// Runs until the deliveries end, then finishes what is in hand or gives up when `core.abort` is
/// cancelled. What is not finished stays with the broker.
pub(crate) async fn run(core: Arc<Core>, mut deliveries: Deliveries, prefetch: usize) {
    let tasks = TaskTracker::new();
    let tracks = Tracks::start(&core, &tasks, prefetch);
    let (acks, received) = mpsc::channel(prefetch);
    tasks.spawn(acks::run(core.clone(), received, tasks.clone()));
    while let Some(Some(delivery)) = core.abort.run_until_cancelled(deliveries.recv()).await {
        match triage(&delivery.body, &core) {
            Triage::Apply(event) => tracks.send(&core, &tasks, event, delivery).await,
            Triage::Ack(ack) => forward(&acks, ack, delivery).await,
            Triage::Drop(refused) => {
                let core = core.clone();
                tasks.spawn(async move { refusal::let_go(&core, refused, delivery).await });
            }
            Triage::Decline(declined) => {
                let core = core.clone();
                tasks.spawn(async move { answer::decline(&core, *declined, delivery).await });
            }
        }
    }
    drop((tracks, acks));
    tasks.close();
    tasks.wait().await;
    core.refusals.finish();
}

/// One applier per track, so that a store that is away holds up its own track only.
struct Tracks {
    appliers: Vec<(Track, mpsc::Sender<Pending<Box<ApplyReceived>>>)>,
}

impl Tracks {
    fn start(core: &Arc<Core>, tasks: &TaskTracker, prefetch: usize) -> Self {
        let start = |store: &Arc<dyn crate::store::CredentialStore>| {
            // As many as the broker hands out: sending never waits for long.
            let (sender, received) = mpsc::channel(prefetch);
            tasks.spawn(apply::run(core.clone(), store.clone(), received, tasks.clone()));
            (store.track(), sender)
        };
        Self { appliers: core.stores.iter().map(start).collect() }
    }

    async fn send(
        &self,
        core: &Arc<Core>,
        tasks: &TaskTracker,
        event: Box<ApplyReceived>,
        delivery: Delivery,
    ) {
        let track = event.key.track;
        if let Some((_, applier)) = self.appliers.iter().find(|(own, _)| *own == track) {
            return forward(applier, event, delivery).await;
        }
        let core = core.clone();
        let reason = format!("track: this peer has no store for `{track}`");
        let declined = triage::Declined::of(&event, reason);
        tasks.spawn(async move { answer::decline(&core, declined, delivery).await });
    }
}

/// A receiver that is gone means that the time to finish is over: the delivery stays unsettled.
async fn forward<M>(to: &mpsc::Sender<Pending<M>>, message: M, delivery: Delivery) {
    let _ = to.send((message, delivery)).await;
}

fn retrying(core: &Core, what: &'static str, reason: &impl std::fmt::Display) {
    core.hub.emit(Event::Retrying { what, reason: reason.to_string() });
}
