//! Ensure, rotate and revoke: the management side first, then the authority's own store, then the
//! books. A crash in between leaves what the next sync (or the caller's retry) finishes.

use std::time::Duration;

use tokio::time::Instant;

use crate::core::Core;
use crate::error::{Error, ErrorKind, Result, StoreError};
use crate::event::Event;
use crate::id::{CredentialKey, Revision};
use crate::ledger::Opened;
use crate::management::{
    Management, ManagementError, ManagementErrorKind, Outcome, StoredRestrictions,
};
use crate::outbound::local_version;
use crate::settlement::{self, Decided};
use crate::store::{Applied, Change, VersionedChange};

mod requests;

pub(crate) use requests::{Asked, Recorded, Request, distinct, tellable};
pub use requests::{Ensure, EnsureOp, Ensured, Revoke, Revoked, Rotate, RotatedSecret};

/// How often a decision is made anew because a newer one came between.
const ROUNDS: u32 = 5;

/// Makes a decision. On success it is recorded at the management side and in effect in the
/// authority's own store.
pub(crate) async fn decide(
    core: &Core,
    key: &CredentialKey,
    request: &Request,
) -> Result<(Recorded, Revision)> {
    let management = core.management()?.clone();
    if core.store(key.track).is_none() {
        return Err(Error::invalid("track", "one that this peer has a credential store for"));
    }
    let _guard = core.locks.decide(key).await;
    let mut floor = 0;
    for _ in 0..ROUNDS {
        let revision = open(core, key, floor).await?;
        let failed = match attempt(core, &*management, key, request, revision).await {
            Ok(recorded) => return Ok((recorded, revision)),
            Err(failed) => failed,
        };
        // If this fails, others (and the next round) wait for the lease to end: a delay, no fault.
        // In doubt the revision before must not count as current: an answer to it would be taken
        // for one to this revision by a management side that does not look at revisions.
        let _ = if failed.maybe_recorded {
            core.ledger.suspend_revision(key, revision).await
        } else {
            core.ledger.abandon_revision(key, revision).await
        };
        match failed.why {
            Failure::Overtaken(least) => floor = least,
            Failure::Final(error) => return Err(error),
        }
    }
    Err(Error::new(ErrorKind::Superseded, "newer decisions kept overtaking this one"))
}

struct Failed {
    why: Failure,
    /// The management side may hold the decision all the same.
    maybe_recorded: bool,
}

enum Failure {
    /// Something newer stands: the next attempt needs a revision of at least this number.
    Overtaken(u64),
    Final(Error),
}

impl From<ManagementError> for Failed {
    fn from(error: ManagementError) -> Self {
        match error.kind() {
            ManagementErrorKind::StaleRevision(current) => {
                let least = current.get().saturating_add(1);
                Self { why: Failure::Overtaken(least), maybe_recorded: false }
            }
            ManagementErrorKind::UnknownTarget(_) => {
                Self { why: Failure::Final(error.into()), maybe_recorded: false }
            }
            ManagementErrorKind::Transient | ManagementErrorKind::Permanent => {
                Failure::Final(error.into()).after_record()
            }
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Final(error.into())
    }
}

impl Failure {
    fn after_record(self) -> Failed {
        Failed { why: self, maybe_recorded: true }
    }
}

/// Waits until no other process decides about the credential, and takes the next revision.
async fn open(core: &Core, key: &CredentialKey, floor: u64) -> Result<Revision> {
    let until = Instant::now() + core.ledger.longest_wait();
    loop {
        match core.ledger.open_revision(key, floor).await? {
            Opened::Yes(revision) => return Ok(revision),
            Opened::Exhausted => return Err(Opened::exhausted()),
            Opened::Busy if Instant::now() < until => {
                let wait = Duration::from_millis(5).mul_f64(1.0 + core.entropy.unit());
                tokio::time::sleep(wait).await;
            }
            Opened::Busy => {
                return Err(Error::new(
                    ErrorKind::Store,
                    "another decision about this credential does not come to its end",
                )
                .transient(true));
            }
        }
    }
}

/// One attempt under one revision.
async fn attempt(
    core: &Core,
    management: &dyn Management,
    key: &CredentialKey,
    request: &Request,
    revision: Revision,
) -> Result<Recorded, Failed> {
    let recorded = request.record(management, key, revision, core.clock.now_ms()).await?;
    let Some(recorded) = recorded else {
        let error = Error::new(
            ErrorKind::UnknownClient,
            format!("no credential of `{}` on track {}", key.client_id, key.track),
        );
        return Err(Failed { why: Failure::Final(error), maybe_recorded: false });
    };
    let applied = apply_locally(core, key, request, &recorded.stored, revision).await;
    applied.map_err(Failure::after_record)?;
    let settled = core.ledger.settle_revision(key, revision).await;
    settled.map_err(|error| Failure::from(error).after_record())?;
    let removed = matches!(request.asked, Asked::Revoke { .. });
    core.hub.emit(Event::Decided { key: key.clone(), revision, removed });
    if recorded.targets == 0 {
        // Nobody else needs to know: nothing is outstanding. If this fails, the next sync reports.
        let decided = Decided { revision, removed };
        let reported = settlement::report(core, management, key, decided, Outcome::Success).await;
        if let Err(error) = reported {
            tracing::warn!("left to the next sync: {error}");
        }
    }
    Ok(recorded)
}

/// Brings the authority's own store to the revision and moves its cursor with it, so that an older
/// event from elsewhere cannot undo it.
async fn apply_locally(
    core: &Core,
    key: &CredentialKey,
    request: &Request,
    stored: &StoredRestrictions,
    revision: Revision,
) -> Result<(), Failure> {
    let Some(store) = core.store(key.track) else { return Ok(()) };
    let change = VersionedChange {
        client_id: key.client_id.clone(),
        version: local_version(core, key, revision),
        change: request.change(stored),
    };
    let applied = core.apply(&**store, vec![change]).await;
    for outcome in applied {
        if let Applied::Stale(held) = outcome? {
            let least = held.ts.next_whole().ok_or_else(|| Failure::Final(Opened::exhausted()))?;
            return Err(Failure::Overtaken(least));
        }
    }
    Ok(())
}

impl Request {
    fn change(&self, stored: &StoredRestrictions) -> Change {
        match &self.asked {
            Asked::Revoke { .. } => Change::Delete,
            Asked::Ensure { secret_hash, .. } | Asked::Rotate { secret_hash, .. } => Change::Put {
                secret_hash: secret_hash.clone(),
                allowed_ips: stored.allowed_ips.clone(),
                expires_at: stored
                    .expires_at
                    .map_or(crate::store::Expiry::Never, crate::store::Expiry::At),
            },
        }
    }
}
