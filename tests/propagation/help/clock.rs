//! A clock that a test steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hmac_propagator::clock::{Clock, SystemClock};

pub const HOUR: i64 = 3_600_000;

/// The system's time, shifted. Clones share the shift.
#[derive(Clone, Debug, Default)]
pub struct StepClock(Arc<AtomicI64>);

impl StepClock {
    pub const HOUR: i64 = HOUR;

    /// Moves it by so many milliseconds, forward or back.
    pub fn step(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for StepClock {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms().saturating_add_signed(self.0.load(Ordering::SeqCst))
    }
}
