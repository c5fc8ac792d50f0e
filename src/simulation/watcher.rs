//! What a process says of itself, and what it must never say on a mesh of honest peers.

use std::sync::Arc;

use super::disk::Disk;
use super::fence::Fence;
use super::plan::{Fault, Shape};
use crate::event::{Event, Observer, Refusal};

pub(super) struct Watcher {
    fence: Arc<Fence>,
    disk: Arc<Disk>,
    shape: Shape,
}

impl Watcher {
    pub(super) fn new(fence: Arc<Fence>, disk: Arc<Disk>, shape: Shape) -> Self {
        Self { fence, disk, shape }
    }

    fn is_to_be_expected(&self, refusal: Refusal) -> bool {
        match refusal {
            // The record that an answer is looked up by may be lost with the store.
            Refusal::UnknownAck => self.disk.losses() > 0,
            // For the clocks, or for want of a store.
            Refusal::Invalid => self.shape.clocks_may_refuse() || self.shape.one_track.is_some(),
            Refusal::Store => self.shape.faults.contains(&Fault::StateRefuses),
            // A target that cannot look up how to sign answers unsigned.
            Refusal::Unsigned => self.shape.rates.of_them_permanent > 0,
            _ => false,
        }
    }
}

impl Observer for Watcher {
    fn on_event(&self, event: &Event) {
        let Fence { world, name, .. } = &*self.fence;
        if self.fence.is_dead() {
            return;
        }
        world.note(format_args!("{name}: {event:?}"));
        match event {
            Event::Refused { reason, detail, .. } if !self.is_to_be_expected(*reason) => {
                world.violate(format_args!("{name} refuses an honest message: {detail}"));
            }
            Event::AnswerUndeliverable { source } => {
                world.model().gave_up_on(&self.disk.owner, source);
            }
            Event::StoreLost { key } if self.disk.losses() == 0 => {
                world.violate(format_args!("{name}: {key} was lost by a store that lost nothing"));
            }
            Event::RowUnusable { reason, .. } => {
                // Read just before a newer decision was made.
                world.note(format_args!("{name}: unusable: {reason}"));
            }
            _ => {}
        }
    }
}
