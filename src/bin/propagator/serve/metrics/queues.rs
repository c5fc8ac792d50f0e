//! How many messages wait in the queues of this peer and of its targets.
//!
//! A look costs the broker a connection, so it is taken when a scrape asks, in the background, and not
//! more often than [`FRESH`]. The scrape does not wait for it: the figures are those of the look before.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hmac_propagator::broker::BrokerOptions;
use hmac_propagator::id::PeerQueue;
use hmac_propagator::inspect::{self, QueueState};
use metrics::gauge;
use tokio::time::Instant;

use super::labels::Labels;
use super::names;

/// How old the figures may be.
const FRESH: Duration = Duration::from_secs(15);
/// How many targets are looked at.
const MOST: usize = 500;

/// Whom to ask, and when somebody did.
pub(super) struct Queues {
    options: BrokerOptions,
    own: PeerQueue,
    looked: Mutex<Looked>,
}

#[derive(Default)]
struct Looked {
    at: Option<Instant>,
    shown: BTreeSet<String>,
}

impl Queues {
    pub(super) fn new(options: BrokerOptions, own: PeerQueue) -> Arc<Self> {
        Arc::new(Self { options, own, looked: Mutex::default() })
    }

    /// Starts a look when the last one is old.
    pub(super) fn refresh(self: &Arc<Self>, targets: &[PeerQueue], labels: &Labels) {
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.at.is_some_and(|at| at.elapsed() < FRESH) {
                return;
            }
            // At its start, so that scrapes meanwhile do not start another one.
            looked.at = Some(Instant::now());
        }
        let queues: Vec<PeerQueue> = targets.iter().take(MOST).cloned().collect();
        let names: Vec<String> = queues.iter().map(|queue| labels.name(queue.as_str())).collect();
        let this = self.clone();
        tokio::spawn(async move { this.look(&queues, names).await });
    }

    async fn look(&self, queues: &[PeerQueue], names: Vec<String>) {
        let Ok(Ok(view)) = inspect::broker(&self.options, &self.own, queues).await else {
            return;
        };
        let own = std::iter::once((self.own.as_str().to_owned(), view.own));
        let targets = names.into_iter().zip(view.queues.into_iter().map(|(_, state)| state));
        let mut now = BTreeSet::new();
        for (name, state) in own.chain(targets) {
            // A queue that nobody has declared yet holds nothing; one that may not be looked at, or
            // does not answer, keeps its figure.
            let ready = match state {
                QueueState::There { ready, .. } => f64::from(ready),
                QueueState::Missing => 0.0,
                _ => continue,
            };
            gauge!(names::QUEUE, "queue" => name.clone()).set(ready);
            now.insert(name);
        }
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in looked.shown.difference(&now) {
            gauge!(names::QUEUE, "queue" => gone.clone()).set(0.0);
        }
        looked.shown.extend(now);
    }
}
