//! Syncs that follow decisions, so that a decision does not wait for the next interval.

use std::sync::Arc;

use hmac_propagator::propagator::Propagator;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Asks for a sync in the background.
pub(crate) struct Syncs {
    /// `None`: this peer syncs only when asked.
    wanted: Option<Arc<Notify>>,
}

impl Syncs {
    pub(crate) fn start(by_itself: bool, propagator: Propagator, stop: CancellationToken) -> Self {
        if !by_itself {
            return Self { wanted: None };
        }
        let wanted = Arc::new(Notify::new());
        let asked = wanted.clone();
        tokio::spawn(async move {
            loop {
                // One that was asked for while the last one ran is kept: it may have come too late
                // for that one.
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = asked.notified() => {}
                }
                // A failure is no reason to try at once: the interval does.
                if let Err(error) = propagator.sync().await {
                    tracing::warn!("the sync after a decision: {error}");
                }
            }
        });
        Self { wanted: Some(wanted) }
    }

    /// Something was decided.
    pub(crate) fn soon(&self) {
        if let Some(wanted) = &self.wanted {
            wanted.notify_one();
        }
    }
}
