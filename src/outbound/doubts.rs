//! Decisions of which the books do not know whether the management side recorded them.

use std::collections::BTreeMap;

use crate::core::Core;
use crate::error::StoreError;
use crate::id::{ClientId, CredentialKey};
use crate::management::PendingPropagation;

/// Ends the doubts that a page of open work answers: it names an older revision than the decision
/// that ended in doubt, so that one was not recorded. (Where it was, the own store is brought up to
/// it.) Only a page counts that was read after the doubt was seen, by this process: one that was read
/// before says nothing. Until then all that is older waits, so it takes the sync after the next.
pub(super) async fn clear_doubts(
    core: &Core,
    entries: &[PendingPropagation],
) -> Result<(), StoreError> {
    let named = entries.iter().filter_map(|entry| {
        let client_id = ClientId::new(entry.client_id.as_str()).ok()?;
        Some((CredentialKey::new(entry.track, client_id), entry.revision))
    });
    let named: BTreeMap<_, _> = named.collect();
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
