//! The authority's own store, before anybody else hears of a revision.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::{Job, Report, local_version};
use crate::core::Core;
use crate::error::StoreError;
use crate::id::{CredentialKey, Revision};
use crate::ledger::{InFlight, Locality};
use crate::mutation::{Mutation, is_on};
use crate::store::{Change, VersionedChange};

/// Applies what the own store lacks of this work: it is there already unless a process died in the
/// middle of a decision or the store lost its data. Returns the credentials that have to wait.
pub(super) async fn bring_up(
    core: &Core,
    jobs: &[Job],
    reports: &[Report],
) -> Result<Waiting, StoreError> {
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
        return Ok(Waiting::default());
    }
    let localities = core.ledger.localities(&rows).await?;
    let mut waiting = Waiting::default();
    for (((key, revision), change), locality) in wanted.into_iter().zip(localities) {
        match locality {
            Locality::Held | Locality::Outdated => {}
            Locality::Undecided => {
                waiting.undecided.insert(key.clone());
            }
            Locality::Lacking => match apply(core, key, revision, change.clone()).await {
                Err(error) if !error.is_transient() => {
                    waiting.refused.insert(key.clone(), error);
                }
                applied => applied?,
            },
        }
    }
    Ok(waiting)
}

/// Credentials that are neither sent nor reported now.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The store refuses them for good; why.
    pub(super) refused: BTreeMap<CredentialKey, StoreError>,
    /// A decision that may replace the revision is open, and the own store may lack it: should the
    /// decision come to nothing, the next sync brings it up first.
    pub(super) undecided: BTreeSet<CredentialKey>,
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
