//! What the transport tells about its two directions.

use std::sync::Arc;

use tokio::sync::watch;

use crate::transport::{LinkHealth, LinkState};

/// One direction of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Publish,
    Consume,
}

impl Direction {
    /// How it is called in logs and in the broker's list of connections.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
        }
    }

    fn of(self, health: &mut LinkHealth) -> &mut LinkState {
        match self {
            Self::Publish => &mut health.publisher,
            Self::Consume => &mut health.consumer,
        }
    }
}

/// Both directions down, nothing tried yet.
pub(super) fn not_connected() -> watch::Sender<LinkHealth> {
    let down = LinkState::Down { reason: None };
    watch::Sender::new(LinkHealth { publisher: down.clone(), consumer: down })
}

/// Reports on one direction. Repeating a state tells nobody; closed stays closed.
#[derive(Clone, Debug)]
pub(super) struct Report {
    health: Arc<watch::Sender<LinkHealth>>,
    direction: Direction,
}

impl Report {
    pub(super) fn new(health: Arc<watch::Sender<LinkHealth>>, direction: Direction) -> Self {
        Self { health, direction }
    }

    pub(super) fn up(&self) {
        if self.set(LinkState::Up) {
            tracing::info!(direction = self.direction.name(), "broker link up");
        }
    }

    pub(super) fn down(&self, reason: &str) {
        let state = LinkState::Down { reason: Some(reason.to_owned()) };
        if self.set(state) {
            tracing::warn!(direction = self.direction.name(), reason, "broker link down");
        }
    }

    pub(super) fn closed(&self) {
        self.set(LinkState::Closed);
    }

    fn set(&self, state: LinkState) -> bool {
        self.health.send_if_modified(|health| {
            let current = self.direction.of(health);
            let changed = *current != state && *current != LinkState::Closed;
            if changed {
                *current = state;
            }
            changed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_state_is_told_once_and_closed_is_final() {
        let health = Arc::new(not_connected());
        let mut seen = health.subscribe();
        let report = Report::new(health, Direction::Consume);
        report.down("x");
        assert!(seen.has_changed().unwrap());
        seen.mark_unchanged();
        report.down("x");
        assert!(!seen.has_changed().unwrap());
        report.closed();
        report.up();
        assert_eq!(seen.borrow().consumer, LinkState::Closed);
        assert_eq!(seen.borrow().publisher, LinkState::Down { reason: None });
    }
}
