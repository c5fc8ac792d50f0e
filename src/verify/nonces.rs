//! Nonces apart from the credentials, for credentials in a store that cannot keep any.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Admission, Admitted, Held, VerifierStore};
use crate::error::StoreError;
use crate::id::{ClientId, Track};
use crate::state::{MemoryState, StateStore};
use crate::store::{CredentialStore, nonce_name};

/// Texts that can be used once per client and timestamp.
#[async_trait]
pub trait NonceStore: Send + Sync + fmt::Debug + 'static {
    /// Uses up a nonce: whether it was unused. Atomic, also between processes that share the store.
    ///
    /// # Errors
    /// When the store cannot be reached or refuses: the caller is then refused too.
    async fn take(
        &self,
        client_id: &ClientId,
        nonce: &str,
        timestamp_ms: u64,
        remember_for: Duration,
    ) -> Result<bool, StoreError>;
}

/// Nonces in a [`StateStore`], at `<namespace>:nonce:<clientId>:<nonce>:<timestamp>`.
#[derive(Clone, Debug)]
pub struct KeyedNonces<S> {
    state: S,
    namespace: String,
}

/// Nonces in Redis, shared by all verifiers on it, in any language.
#[cfg(feature = "redis")]
pub type RedisNonces = KeyedNonces<crate::state::RedisState>;

/// Nonces in memory: for one process, and forgotten when it ends.
pub type MemoryNonces = KeyedNonces<MemoryState>;

impl<S: StateStore> KeyedNonces<S> {
    /// Nonces under a namespace, for example `hmac:http`.
    pub fn new(state: S, namespace: impl Into<String>) -> Self {
        Self { state, namespace: namespace.into() }
    }
}

#[async_trait]
impl<S: StateStore> NonceStore for KeyedNonces<S> {
    async fn take(
        &self,
        client_id: &ClientId,
        nonce: &str,
        timestamp_ms: u64,
        remember_for: Duration,
    ) -> Result<bool, StoreError> {
        let name = nonce_name(&self.namespace, client_id, nonce, timestamp_ms);
        self.state.read_and_claim(&[], name, remember_for).await.map(|(_, unused)| unused)
    }
}

/// Credentials from any [`CredentialStore`], with nonces kept elsewhere. Reads the credential anew
/// for each request, and then uses up the nonce: one step more than a store that holds both.
#[derive(Clone, Debug)]
pub struct WithNonces {
    credentials: Arc<dyn CredentialStore>,
    nonces: Arc<dyn NonceStore>,
}

impl WithNonces {
    /// Puts the two together.
    pub fn new(credentials: impl CredentialStore, nonces: impl NonceStore) -> Self {
        Self { credentials: Arc::new(credentials), nonces: Arc::new(nonces) }
    }
}

#[async_trait]
impl VerifierStore for WithNonces {
    fn track(&self) -> Track {
        self.credentials.track()
    }

    async fn look_up(
        &self,
        client_id: &ClientId,
        with_previous: bool,
    ) -> Result<Option<Held>, StoreError> {
        let Some(credential) = self.credentials.get(client_id).await? else {
            return Ok(None);
        };
        let previous =
            if with_previous { self.credentials.previous(client_id).await? } else { None };
        Ok(Some(Held::new(credential, previous)))
    }

    async fn admit(&self, admission: &Admission<'_>) -> Result<Admitted, StoreError> {
        let Admission { client_id, with_previous, nonce, timestamp_ms, remember_for, .. } =
            *admission;
        let held = self.look_up(client_id, with_previous).await?;
        let unused = self.nonces.take(client_id, nonce, timestamp_ms, remember_for).await?;
        Ok(Admitted { now: admission.compare(held), unused })
    }
}
