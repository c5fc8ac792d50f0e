//! What operators do beyond the callbacks: look, and put right.

use crate::id::{CredentialKey, PeerQueue};
use crate::management::ManagementError;

mod backlog;
mod directory;
mod rotation;
mod rows;
mod view;

pub use backlog::TargetBacklog;
pub use directory::{NewTarget, TargetChange, TargetInfo};
pub use rotation::DueRotation;
pub use view::{CredentialInfo, TargetState};

/// Why an operator's call did nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// The directory has this peer already.
    #[error("{0} is in the directory already")]
    TargetExists(PeerQueue),
    /// The directory does not have this peer.
    #[error("{0} is not in the directory")]
    UnknownTarget(PeerQueue),
    /// A peer is no target of itself.
    #[error("{0} is this peer's own queue")]
    OwnQueue(PeerQueue),
    /// Credentials have this target.
    #[error("{target} is a target of {count} credentials, first of {}", names(users))]
    TargetInUse {
        /// The target.
        target: PeerQueue,
        /// Some of the credentials, in order.
        users: Vec<CredentialKey>,
        /// How many there are.
        count: u64,
    },
    /// There is no such credential, or it is deleted.
    #[error("there is no credential {0}")]
    UnknownCredential(CredentialKey),
    /// The credential does not have this target.
    #[error("{target} is no target of {key}")]
    NoSuchRow {
        /// The credential.
        key: CredentialKey,
        /// The target.
        target: PeerQueue,
    },
    /// Only what failed can be tried again.
    #[error("{target} of {key} has not failed")]
    NotFailed {
        /// The credential.
        key: CredentialKey,
        /// The target.
        target: PeerQueue,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] ManagementError),
}

fn names(users: &[CredentialKey]) -> String {
    users.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
