//! Remembers which decisions in doubt this process has seen, so that what is read at the management
//! side afterwards can end the doubt.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::id::CredentialKey;

/// Most doubts that are remembered. Beyond, it starts anew: a doubt then takes another sync to end.
const MOST: usize = 10_000;

/// Credentials and the decision about each that ended in doubt.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    seen: Mutex<HashMap<CredentialKey, u64>>,
}

impl Doubts {
    /// Whether this doubt was seen before.
    pub(crate) fn saw(&self, key: &CredentialKey, doubt: u64) -> bool {
        self.lock().get(key) == Some(&doubt)
    }

    pub(crate) fn see(&self, key: &CredentialKey, doubt: u64) {
        let mut seen = self.lock();
        if seen.len() >= MOST {
            seen.clear();
        }
        seen.insert(key.clone(), doubt);
    }

    pub(crate) fn forget(&self, key: &CredentialKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CredentialKey, u64>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
