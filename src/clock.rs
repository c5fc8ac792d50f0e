//! Wall time, injected so that tests can step it. Durations run on tokio's clock instead.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Wall time in milliseconds since the epoch.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Now. May step back; callers cope with that.
    fn now_ms(&self) -> u64;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}
