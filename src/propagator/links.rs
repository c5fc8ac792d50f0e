//! Turns changes of the broker connection into events.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::event::{Event, Link};
use crate::transport::{LinkHealth, LinkState};

/// Runs until `stop`.
pub(super) async fn watch(core: Arc<Core>, stop: CancellationToken) {
    let mut health = core.transport.health();
    let mut publisher = Seen::new(Link::Publisher);
    let mut consumer = Seen::new(Link::Consumer);
    loop {
        let LinkHealth { publisher: p, consumer: c } = health.borrow_and_update().clone();
        for event in [publisher.note(p), consumer.note(c)].into_iter().flatten() {
            core.hub.emit(event);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = health.changed() => if changed.is_err() { return },
        }
    }
}

struct Seen {
    link: Link,
    up: bool,
    ever: bool,
}

impl Seen {
    fn new(link: Link) -> Self {
        Self { link, up: false, ever: false }
    }

    fn note(&mut self, state: LinkState) -> Option<Event> {
        let (link, was_up, again) = (self.link, self.up, self.ever);
        self.up = state.is_up();
        self.ever |= self.up;
        match state {
            LinkState::Up if !was_up => Some(Event::Connected { link, again }),
            LinkState::Down { reason } if was_up || reason.is_some() => {
                Some(Event::Disconnected { link, reason })
            }
            _ => None,
        }
    }
}
