//! Remembers which versions this process saw take effect, so that a store that lost its data does
//! not let an old event in again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cursor::Cursor;
use crate::id::CredentialKey;

/// Most credentials that are remembered. Beyond, the protection starts anew: it is a second line
/// behind the cursors in the store.
const MOST: usize = 200_000;

/// The greatest version of each credential that took effect while this process ran.
#[derive(Debug, Default)]
pub(crate) struct RecentVersions {
    versions: Mutex<HashMap<CredentialKey, Cursor>>,
}

impl RecentVersions {
    pub(crate) fn get(&self, key: &CredentialKey) -> Option<Cursor> {
        self.lock().get(key).cloned()
    }

    pub(crate) fn note(&self, key: CredentialKey, version: &Cursor) {
        let mut versions = self.lock();
        if versions.len() >= MOST && !versions.contains_key(&key) {
            versions.clear();
        }
        let known = versions.entry(key).or_insert_with(|| version.clone());
        if *known < *version {
            *known = version.clone();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CredentialKey, Cursor>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
