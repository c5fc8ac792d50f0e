//! Remembers for a while which secret answers each source, so that a burst of events costs the
//! management side one look-up.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::id::PeerQueue;
use crate::secret::PropagationSecret;

/// How long a secret is believed. An answer under one that was just replaced is dropped by the
/// source, which then asks again.
const BELIEVED_MS: u64 = 10_000;
/// Most sources that are remembered.
const MOST: usize = 10_000;

/// Secrets by source.
#[derive(Default)]
pub(crate) struct SourceCache {
    known: Mutex<HashMap<PeerQueue, (Option<PropagationSecret>, u64)>>,
}

impl SourceCache {
    /// What was remembered not too long ago. The inner `None`: the source has no secret.
    #[allow(clippy::option_option)]
    pub(crate) fn get(&self, source: &PeerQueue, now_ms: u64) -> Option<Option<PropagationSecret>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (secret, at_ms) = known.get(source)?;
        (now_ms.abs_diff(*at_ms) < BELIEVED_MS).then(|| secret.clone())
    }

    /// What was remembered, however long ago.
    #[allow(clippy::option_option)]
    pub(crate) fn outdated(&self, source: &PeerQueue) -> Option<Option<PropagationSecret>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(source).map(|(secret, _)| secret.clone())
    }

    pub(crate) fn put(&self, source: &PeerQueue, secret: Option<PropagationSecret>, now_ms: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(source.clone(), (secret, now_ms));
    }
}

impl fmt::Debug for SourceCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceCache").finish_non_exhaustive()
    }
}
