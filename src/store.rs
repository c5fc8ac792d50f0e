//! The port to the credentials of one track.

use std::fmt;

use async_trait::async_trait;

use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::id::{ClientId, Track};
use crate::secret::SecretHash;

mod allowed_ips;
mod identity;
mod keyed;
mod record;

pub use allowed_ips::AllowedIps;
pub use identity::StoreId;
#[cfg(feature = "redis")]
pub use keyed::RedisCredentialStore;
pub(crate) use keyed::nonce_name;
pub use keyed::{KeyedCredentialStore, MemoryCredentialStore};
pub use record::Credential;

/// What a version does to a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Create it or replace its hash.
    Put {
        /// The hash from now on.
        secret_hash: SecretHash,
        /// The allow-list from now on; `None` keeps what is stored.
        allowed_ips: Option<AllowedIps>,
        /// The expiry from now on.
        expires_at: Expiry,
    },
    /// Remove it, and its backup with it.
    Delete,
}

/// What becomes of an expiry. Exhaustive: the wire knows no fourth case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// What is stored stays; a new credential has none.
    #[default]
    Keep,
    /// It never expires.
    Never,
    /// It expires at this time, in milliseconds since the epoch.
    At(u64),
}

impl Expiry {
    /// The latest expiry that can be decided, in milliseconds since the epoch: the last instant that
    /// peers in every language can hold (a JavaScript date ends there).
    pub const LATEST_MS: u64 = 8_640_000_000_000_000;
}

/// A change and the version that brings it.
#[derive(Clone, Debug)]
pub struct VersionedChange {
    /// Whose credential.
    pub client_id: ClientId,
    /// The version.
    pub version: Cursor,
    /// The change.
    pub change: Change,
}

/// What became of a change. Exhaustive: a change is applied or it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is in effect and the cursor stands at its version.
    Changed,
    /// The cursor stood at this version already, and what the version says was in effect.
    Already,
    /// Something newer is in effect: this is its version.
    Stale(Cursor),
}

/// The credentials of one track, each guarded by a cursor.
///
/// # Cancellation
/// A dropped call may or may not have taken effect; applying the same version again is harmless.
#[async_trait]
pub trait CredentialStore: Send + Sync + fmt::Debug + 'static {
    /// The track whose credentials these are.
    fn track(&self) -> Track;

    /// One credential.
    ///
    /// # Errors
    /// Transient when the store cannot be reached; permanent when the record cannot be read.
    async fn get(&self, client_id: &ClientId) -> Result<Option<Credential>, StoreError>;

    /// The hash before the last change of it, while the store still keeps it. A store that keeps
    /// none says `None`, which is what the provided method does.
    ///
    /// # Errors
    /// Transient when the store cannot be reached.
    async fn previous(&self, _client_id: &ClientId) -> Result<Option<SecretHash>, StoreError> {
        Ok(None)
    }

    /// The version that was applied last, be it a removal.
    ///
    /// # Errors
    /// Transient when the store cannot be reached.
    async fn cursor(&self, client_id: &ClientId) -> Result<Option<Cursor>, StoreError>;

    /// Applies each change whose version is greater than the cursor and moves the cursor, both in
    /// one atomic step, so that replicas on one store never interleave. A change whose version the
    /// cursor stands at is applied once more if somebody has altered the credential since. One outcome
    /// per change, in their order; changes to one client are applied in their order. Uses `now_ms` for
    /// `createdAt` and `updatedAt`.
    async fn apply(
        &self,
        changes: &[VersionedChange],
        now_ms: u64,
    ) -> Vec<Result<Applied, StoreError>>;

    /// The identity of what is held: the same as long as nothing can have been lost of it. A store that
    /// has no identity yet, or was lost, set back or may have been, takes `fresh` for its identity; of
    /// several callers at once one succeeds, and all are told the same. `None`: this store cannot
    /// tell, which is what the provided method says; whoever loses data then has to say so
    /// (`Propagator::resend`).
    ///
    /// # Errors
    /// Transient when the store cannot be reached.
    async fn identify(&self, _fresh: &StoreId) -> Result<Option<StoreId>, StoreError> {
        Ok(None)
    }

    /// The ids of all clients, page by page; `after` is what the page before returned. A client
    /// that is there all the while appears at least once.
    ///
    /// # Errors
    /// Transient when the store cannot be reached.
    async fn list(
        &self,
        after: Option<String>,
    ) -> Result<(Vec<ClientId>, Option<String>), StoreError>;
}
