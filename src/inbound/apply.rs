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
use crate::store::{Applied, CredentialStore, VersionedChange};
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
        let results = self.core.apply(&*self.store, changes).await;
        let mut why = None;
        for ((item, failures), result) in batch.into_iter().zip(results) {
            why = self.conclude(item, failures, result).or(why);
        }
        if let Some(error) = why {
            retrying(&self.core, "applying credential events", &error);
        }
    }

    /// Answers, or keeps the item for later and returns why.
    fn conclude(
        &mut self,
        (event, delivery): Item,
        failures: u32,
        result: Result<Applied, StoreError>,
    ) -> Option<StoreError> {
        match result {
            Ok(applied) => self.answer(event, applied, delivery),
            Err(_) if is_on(Mutation::AppliedUnapplied) => {
                self.answer(event, Applied::Already, delivery);
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

    fn answer(&self, event: Box<ApplyReceived>, applied: Applied, delivery: Delivery) {
        let core = self.core.clone();
        self.tasks.spawn(async move { answer::applied(&core, &event, applied, delivery).await });
    }
}

fn change(event: &ApplyReceived) -> VersionedChange {
    VersionedChange {
        client_id: event.key.client_id.clone(),
        version: event.version.clone(),
        change: event.change.clone(),
    }
}
