//! When credentials are to get a new secret.

use std::time::Duration;

use crate::entropy::{Entropy, OsEntropy};

/// How often a credential gets a new secret. It stays with the credential over all rotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct RotationPolicy {
    pub(super) after: Duration,
    pub(super) jitter: Duration,
}

impl RotationPolicy {
    /// This long after the last new secret.
    pub fn after(after: Duration) -> Self {
        Self { after, jitter: Duration::ZERO }
    }

    /// After so many days.
    pub fn after_days(days: u16) -> Self {
        Self::after(Duration::from_secs(u64::from(days) * 24 * 60 * 60))
    }

    /// Up to this much earlier, each time by another part of it: credentials that were made together
    /// do not stay together. At most half of the time between rotations counts.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// How long after the last new secret the next one is due at the latest.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.after
    }
}

/// When the next rotation is due, after one at `at_ms`; never later than the policy says.
pub(super) fn next(at_ms: u64, after_ms: u64, jitter_ms: u64) -> Option<u64> {
    let most = jitter_ms.min(after_ms / 2);
    // Milliseconds of years are far from what a double cannot count.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let earlier = (most as f64 * OsEntropy.unit()) as u64;
    Some(at_ms.saturating_add(after_ms).saturating_sub(earlier))
}
