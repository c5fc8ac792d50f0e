//! How long to wait before the next try.

use std::time::Duration;

use crate::entropy::Entropy;

/// Exponential backoff with jitter: try `n` waits between half and all of
/// `min(first * 2^n, most)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// Upper bound of the first wait.
    pub(crate) first: Duration,
    /// Upper bound of every wait.
    pub(crate) most: Duration,
}

impl Backoff {
    /// A backoff between two bounds.
    pub(crate) const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most }
    }

    /// The upper bound of the wait after `failures` failures in a row (0: the first).
    pub(crate) fn ceiling(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }

    /// The wait after `failures` failures in a row (0: the first), with jitter.
    pub(crate) fn delay(&self, failures: u32, entropy: &dyn Entropy) -> Duration {
        self.ceiling(failures).mul_f64(0.5 + entropy.unit() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::OsEntropy;

    #[test]
    fn grows_to_its_bound_and_never_leaves_it() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        for failures in 0..200 {
            let delay = backoff.delay(failures, &OsEntropy);
            let ceiling = backoff.ceiling(failures);
            assert!(delay >= ceiling / 2 && delay <= ceiling, "{failures}: {delay:?}");
        }
        assert_eq!(backoff.ceiling(0), Duration::from_millis(100));
        assert_eq!(backoff.ceiling(3), Duration::from_millis(800));
        assert_eq!(backoff.ceiling(31), Duration::from_secs(5));
    }
}
