//! How a verifier is put together.

use std::sync::Arc;
use std::time::Duration;

use super::cache::Cache;
use super::observe::Observing;
use super::{Inner, Verifier, VerifierObserver, VerifierStore};
use crate::clock::{Clock, SystemClock};

/// Options of a [`Verifier`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct VerifierBuilder {
    store: Arc<dyn VerifierStore>,
    clock: Arc<dyn Clock>,
    options: Options,
    kept: usize,
    observer: Option<Arc<dyn VerifierObserver>>,
}

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) max_skew_ms: u64,
    pub(super) overlap: bool,
    pub(super) lossy_bodies: bool,
}

impl VerifierBuilder {
    pub(super) fn new(store: Arc<dyn VerifierStore>) -> Self {
        let options = Options { max_skew_ms: 300_000, overlap: false, lossy_bodies: false };
        Self { store, clock: Arc::new(SystemClock), options, kept: 10_000, observer: None }
    }

    /// How far a timestamp may lie from now, in either direction, in whole milliseconds. Default:
    /// 300 s.
    pub fn max_skew(mut self, skew: Duration) -> Self {
        self.options.max_skew_ms = u64::try_from(skew.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Whether a signature under the previous hash is accepted while its backup lives (600 s unless
    /// the store says otherwise), so that a rotation has no gap. Default: no, the old secret ends
    /// with the rotation.
    pub fn overlap(mut self, on: bool) -> Self {
        self.options.overlap = on;
        self
    }

    /// Whether a body that is not UTF-8 may be signed as the deployed Node signers do it, after its
    /// bad bytes were replaced. Bodies that differ only in such bytes are then not told apart.
    /// Default: no.
    pub fn accept_lossy_body_digests(mut self, on: bool) -> Self {
        self.options.lossy_bodies = on;
        self
    }

    /// Of how many clients the records are kept in memory, about 1 kB each, so that their requests
    /// cost one round trip instead of two. Default: 10,000.
    pub fn kept_clients(mut self, clients: usize) -> Self {
        self.kept = clients;
        self
    }

    /// Where the time comes from. Default: the system's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Who sees what is accepted and refused. Default: nobody; it is counted and logged anyway.
    pub fn observer(mut self, observer: impl VerifierObserver) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// The verifier.
    #[must_use]
    pub fn build(self) -> Verifier {
        let Self { store, clock, options, kept, observer } = self;
        let (cache, observing) = (Cache::new(kept), Observing::new(observer));
        Verifier { inner: Arc::new(Inner { store, clock, options, cache, observing }) }
    }
}
