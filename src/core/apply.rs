//! Applying changes to a store that may have lost what it held.

use super::Core;
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::event::Event;
use crate::id::{CredentialKey, Track};
use crate::store::{Applied, CredentialStore, VersionedChange};

impl Core {
    /// Applies changes as the store does, but nothing older than what this process saw in effect:
    /// the cursor that would say so may be lost. One outcome per change, in their order.
    pub(crate) async fn apply(
        &self,
        store: &dyn CredentialStore,
        changes: Vec<VersionedChange>,
    ) -> Vec<Result<Applied, StoreError>> {
        let known: Vec<Option<Cursor>> =
            changes.iter().map(|change| self.recent.get(&key_of(store.track(), change))).collect();
        let is_old = |index: usize| {
            known[index].as_ref().is_some_and(|known| is_older(&changes[index].version, known))
        };
        let asked: Vec<usize> = (0..changes.len()).filter(|&index| !is_old(index)).collect();
        let batch: Vec<_> = asked.iter().map(|&index| changes[index].clone()).collect();
        let mut answers = store.apply(&batch, self.clock.now_ms()).await.into_iter();
        (0..changes.len())
            .map(|index| match &known[index] {
                Some(held) if is_old(index) => Ok(Applied::Stale(held.clone())),
                known => {
                    let answer = answers.next().unwrap_or_else(miscounted)?;
                    self.learn(store.track(), &changes[index], &answer, known.as_ref());
                    Ok(answer)
                }
            })
            .collect()
    }

    fn learn(
        &self,
        track: Track,
        change: &VersionedChange,
        answer: &Applied,
        known: Option<&Cursor>,
    ) {
        let key = key_of(track, change);
        // It was in effect before, and the store took it as new: the store has lost it meanwhile.
        if *answer == Applied::Changed && known == Some(&change.version) {
            self.hub.emit(Event::StoreLost { key: key.clone() });
        }
        match answer {
            Applied::Changed | Applied::Already => self.recent.note(key, &change.version),
            Applied::Stale(held) => self.recent.note(key, held),
        }
    }
}

/// Whether a version is older than one that was in effect. The same revision under another event id is not: its
/// source has lost its books, and only the store can say whether it holds it.
fn is_older(version: &Cursor, known: &Cursor) -> bool {
    let same = known.ts == version.ts && known.source == version.source;
    !same && known > version
}

fn key_of(track: Track, change: &VersionedChange) -> CredentialKey {
    CredentialKey::new(track, change.client_id.clone())
}

fn miscounted() -> Result<Applied, StoreError> {
    Err(StoreError::permanent("the store did not give one outcome per change"))
}
