//! Decisions of which the books do not know whether the management side recorded them.

use std::collections::BTreeMap;

use crate::core::Core;
use crate::error::StoreError;
use crate::id::{ClientId, CredentialKey, Revision};
use crate::management::PendingPropagation;

/// As [`clear_doubts_about`], for a page of open work.
pub(super) async fn clear_doubts(
    core: &Core,
    entries: &[PendingPropagation],
) -> Result<(), StoreError> {
    let named = entries.iter().filter_map(|entry| {
        let client_id = ClientId::new(entry.client_id.as_str()).ok()?;
        Some((CredentialKey::new(entry.track, client_id), entry.revision))
    });
    clear_doubts_about(core, named.collect()).await
}

/// Ends the doubts that what was read at the management side answers: it names an older revision than the
/// decision that ended in doubt, so that one was not recorded. (Where it was, the own store is brought up to
/// it.) Only that counts which was read after the doubt was seen, by this process: what was read
/// before says nothing. Until then all that is older waits, so it takes the sync after the next.
pub(super) async fn clear_doubts_about(
    core: &Core,
    named: BTreeMap<CredentialKey, Revision>,
) -> Result<(), StoreError> {
    let keys: Vec<&CredentialKey> = named.keys().collect();
    let doubts = core.ledger.doubts(&keys).await?;
    for ((key, revision), doubt) in named.iter().zip(doubts) {
        match doubt.filter(|doubt| *doubt > revision.get()) {
            Some(doubt) if core.doubts.saw(key, doubt) => {
                core.ledger.dismiss_doubt(key, doubt).await?;
                core.doubts.forget(key);
            }
            Some(doubt) => core.doubts.see(key, doubt),
            None => core.doubts.forget(key),
        }
    }
    Ok(())
}
