//! Applies the events of one track: many credentials at once, each one's events in their order.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::parking::{Parking, wait_until};
use super::{Pending, answer, retrying};
use crate::core::Core;
use crate::error::StoreError;
use crate::event::Refusal;
use crate::id::ClientId;
use crate::mutation::{Mutation, is_on};
use crate::store::{Applied, CredentialStore, StoreId, VersionedChange};
use crate::transport::Delivery;
use crate::wire::ApplyReceived;

/// Most events of one round to the store.
const BATCH: usize = 128;

type Item = Pending<Box<ApplyReceived>>;

/// Runs until the channel is closed and nothing is parked, or `core.abort` is cancelled.
pub(super) async fn run(
    core: Arc<Core>,
    store: Arc<dyn CredentialStore>,
    mut received: mpsc::Receiver<Item>,
    tasks: TaskTracker,
) {
    let mut applier = Applier { core, store, parked: Parking::new(), tasks };
    let mut open = true;
    while open || !applier.parked.is_empty() {
        let mut fresh = Vec::new();
        tokio::select! {
            biased;
            () = applier.core.abort.cancelled() => return,
            () = wait_until(applier.parked.next_due()) => {}
            count = received.recv_many(&mut fresh, BATCH), if open => open = count > 0,
        }
        applier.round(fresh).await;
    }
}

struct Applier {
    core: Arc<Core>,
    store: Arc<dyn CredentialStore>,
    parked: Parking<ClientId, Box<ApplyReceived>>,
    tasks: TaskTracker,
}

impl Applier {
    async fn round(&mut self, fresh: Vec<Item>) {
        let mut batch: Vec<(Item, u32)> = Vec::new();
        for due in self.parked.take_due() {
            batch.extend(due.items.into_iter().map(|item| (item, due.failures)));
        }
        for item in fresh {
            // Behind its own credential's earlier events, if those had to wait.
            let client_id = item.0.key.client_id.clone();
            batch.extend(self.parked.queue_behind(&client_id, item).map(|item| (item, 0)));
        }
        if batch.is_empty() {
            return;
        }
        let changes: Vec<VersionedChange> =
            batch.iter().map(|((event, _), _)| change(event)).collect();
        let store = self.identity().await;
        let results = self.core.apply(&*self.store, changes).await;
        let mut why = None;
        for ((item, failures), result) in batch.into_iter().zip(results) {
            self.core.identities.heard_from(&item.0.source);
            why = self.conclude(item, failures, result, store.as_ref()).or(why);
        }
        if let Some(error) = why {
            retrying(&self.core, "applying credential events", &error);
        }
    }

    /// The store that the next answers come out of. Asked before the events are applied: should it be lost
    /// meanwhile, they were applied to an older one than the answers name, or to none that is left.
    async fn identity(&self) -> Option<StoreId> {
        let track = self.store.track();
        if let Some(known) = self.core.identities.get(track) {
            return Some(known);
        }
        // The first events since the start. A store that cannot be asked applies nothing either.
        self.core.identify(&*self.store).await.ok()?;
        self.core.identities.get(track)
    }

    /// Answers, or keeps the item for later and returns why.
    fn conclude(
        &mut self,
        (event, delivery): Item,
        failures: u32,
        result: Result<Applied, StoreError>,
        store: Option<&StoreId>,
    ) -> Option<StoreError> {
        let store = store.cloned();
        match result {
            Ok(applied) => self.answer(event, applied, store, delivery),
            Err(_) if is_on(Mutation::AppliedUnapplied) => {
                self.answer(event, Applied::Already, store, delivery);
            }
            Err(error) if error.is_transient() => {
                let client_id = event.key.client_id.clone();
                self.parked.park(&self.core, client_id, (event, delivery), failures);
                return Some(error);
            }
            Err(error) => {
                let core = self.core.clone();
                let reason = format!("store: {error}");
                let declined = super::triage::Declined {
                    refusal: Refusal::Store,
                    ..super::triage::Declined::of(&event, reason)
                };
                self.tasks.spawn(async move { answer::decline(&core, declined, delivery).await });
            }
        }
        None
    }

    fn answer(
        &self,
        event: Box<ApplyReceived>,
        applied: Applied,
        store: Option<StoreId>,
        delivery: Delivery,
    ) {
        let core = self.core.clone();
        self.tasks.spawn(async move {
            answer::applied(&core, &event, applied, store, delivery).await;
        });
    }
}

fn change(event: &ApplyReceived) -> VersionedChange {
    VersionedChange {
        client_id: event.key.client_id.clone(),
        version: event.version.clone(),
        change: event.change.clone(),
    }
}
