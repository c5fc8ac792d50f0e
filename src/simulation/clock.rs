//! The wall clock of one machine: virtual time, and how far off it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::world::{EPOCH_MS, World};
use crate::clock::Clock;

/// Clones are the same clock.
#[derive(Clone, Debug)]
pub(super) struct SkewedClock {
    world: Arc<World>,
    off_by_ms: Arc<AtomicI64>,
}

impl SkewedClock {
    pub(super) fn new(world: Arc<World>) -> Self {
        Self { world, off_by_ms: Arc::default() }
    }

    pub(super) fn set(&self, off_by_ms: i64) {
        self.off_by_ms.store(off_by_ms, Ordering::Relaxed);
    }
}

impl Clock for SkewedClock {
    fn now_ms(&self) -> u64 {
        (EPOCH_MS + self.world.elapsed_ms())
            .saturating_add_signed(self.off_by_ms.load(Ordering::Relaxed))
    }
}
