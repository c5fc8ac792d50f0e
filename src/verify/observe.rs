//! Who was let through, with which hash, and who was not.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{KeyUsed, Refused, Verified};
use crate::auth::RefusalCode;
use crate::id::{ClientId, Track};

/// What a verifier did. Carries no secret and no signature.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifierEvent {
    /// A caller was let through. [`KeyUsed::Previous`] tells who still has to change over.
    Accepted(Verified),
    /// A caller was refused.
    Refused {
        /// The track whose credentials were asked.
        track: Track,
        /// Why.
        code: RefusalCode,
        /// Who claimed to be calling, where that could be read. Not proven.
        client_id: Option<ClientId>,
    },
}

/// Sees every event of a verifier, on the task where it happens.
pub trait VerifierObserver: Send + Sync + 'static {
    /// Must return quickly and must not block.
    fn on_event(&self, event: &VerifierEvent);
}

impl<F: Fn(&VerifierEvent) + Send + Sync + 'static> VerifierObserver for F {
    fn on_event(&self, event: &VerifierEvent) {
        self(event);
    }
}

impl fmt::Debug for dyn VerifierObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifierObserver")
    }
}

/// How often what happened since the verifier was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifierCounts {
    /// Let through with the hash in effect.
    pub accepted: u64,
    /// Let through with the hash before it.
    pub accepted_with_previous: u64,
    refused: [u64; CODES],
}

const CODES: usize = RefusalCode::ALL.len();

impl VerifierCounts {
    /// Refused for a reason.
    #[must_use]
    pub fn refused(&self, code: RefusalCode) -> u64 {
        self.refused[place(code)]
    }
}

pub(super) struct Observing {
    accepted: AtomicU64,
    accepted_with_previous: AtomicU64,
    refused: [AtomicU64; CODES],
    observer: Option<Arc<dyn VerifierObserver>>,
}

impl Observing {
    pub(super) fn new(observer: Option<Arc<dyn VerifierObserver>>) -> Self {
        Self {
            accepted: AtomicU64::new(0),
            accepted_with_previous: AtomicU64::new(0),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
            observer,
        }
    }

    pub(super) fn accepted(&self, verified: &Verified) {
        match verified.key {
            KeyUsed::Current => self.accepted.fetch_add(1, Ordering::Relaxed),
            KeyUsed::Previous => {
                let Verified { client_id, track, .. } = verified;
                tracing::info!(%client_id, %track, "let through with the previous secret");
                self.accepted_with_previous.fetch_add(1, Ordering::Relaxed)
            }
        };
        if let Some(observer) = &self.observer {
            observer.on_event(&VerifierEvent::Accepted(verified.clone()));
        }
    }

    pub(super) fn refused(&self, track: Track, refused: &Refused) {
        let (code, client_id) = (refused.code(), refused.client_id());
        let client = client_id.map(ClientId::as_str);
        match refused.source() {
            Some(cause) => tracing::warn!(client, %track, cause, "cannot check a caller"),
            None => tracing::debug!(client, %track, %code, "refused a caller"),
        }
        self.refused[place(code)].fetch_add(1, Ordering::Relaxed);
        if let Some(observer) = &self.observer {
            let client_id = client_id.cloned();
            observer.on_event(&VerifierEvent::Refused { track, code, client_id });
        }
    }

    pub(super) fn counts(&self) -> VerifierCounts {
        VerifierCounts {
            accepted: self.accepted.load(Ordering::Relaxed),
            accepted_with_previous: self.accepted_with_previous.load(Ordering::Relaxed),
            refused: std::array::from_fn(|code| self.refused[code].load(Ordering::Relaxed)),
        }
    }
}

/// The place of a code in [`RefusalCode::ALL`].
fn place(code: RefusalCode) -> usize {
    code as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_counter_of_its_own() {
        for (index, code) in RefusalCode::ALL.into_iter().enumerate() {
            assert_eq!(place(code), index, "{code}");
        }
    }
}
