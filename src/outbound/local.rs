//! The authority's own store, before anybody else hears of a revision.

use std::collections::BTreeMap;

use super::rows::{Job, Report, local_version};
use crate::core::Core;
use crate::error::StoreError;
use crate::id::{CredentialKey, Revision};
use crate::ledger::InFlight;
use crate::mutation::{Mutation, is_on};
use crate::store::{Change, VersionedChange};

/// Applies what the own store lacks of this work: it is there already unless a process died in the
/// middle of a decision or the store lost its data. Returns the credentials that the store refuses
/// for good, and why.
pub(super) async fn bring_up(
    core: &Core,
    jobs: &[Job],
    reports: &[Report],
) -> Result<BTreeMap<CredentialKey, StoreError>, StoreError> {
    let delivered = jobs.iter().map(|job| {
        let InFlight { key, revision, .. } = &job.claim.flight;
        ((key, *revision), &job.change)
    });
    let reported = reports.iter().filter_map(|report| {
        let change = report.change.as_ref()?;
        Some(((&report.key, report.revision), change))
    });
    let wanted: BTreeMap<_, _> = delivered.chain(reported).collect();
    let rows: Vec<_> = wanted.keys().copied().collect();
    if is_on(Mutation::OwnStoreSkipped) {
        return Ok(BTreeMap::new());
    }
    let not_local = core.ledger.not_local(&rows).await?;
    let lacking = wanted.into_iter().zip(not_local).filter(|(_, not_local)| *not_local);
    let mut refused = BTreeMap::new();
    for (((key, revision), change), _) in lacking {
        match apply(core, key, revision, change.clone()).await {
            Err(error) if !error.is_transient() => {
                refused.insert(key.clone(), error);
            }
            applied => applied?,
        }
    }
    Ok(refused)
}

async fn apply(
    core: &Core,
    key: &CredentialKey,
    revision: Revision,
    change: Change,
) -> Result<(), StoreError> {
    // Without a store for the track there is nothing to bring up.
    if let Some(store) = core.store(key.track) {
        let version = local_version(core, key, revision);
        let change = VersionedChange { client_id: key.client_id.clone(), version, change };
        let applied = core.apply(&**store, vec![change]).await;
        applied.into_iter().collect::<Result<Vec<_>, _>>()?;
    }
    core.ledger.settle_revision(key, revision).await
}
