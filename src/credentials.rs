//! Credentials of one track, managed in the store that verifiers read.
//!
//! For services that issue credentials themselves, and for an operator's repair. Every change is one
//! atomic step on the record as it stands, so it never interleaves with another one, nor with an
//! event of the propagation.
//!
//! # Beside propagation
//! A change made here stays here: no peer is told, and the cursor of the propagation is not touched.
//! Therefore the next event about the same client replaces what was done here, and an older one is
//! still recognised as stale. Where peers must follow, decide with `Propagator::ensure`, `rotate` and
//! `revoke` instead.

mod change;
mod generated;

use std::fmt;
use std::sync::Arc;

use crate::auth::hash_client_secret;
use crate::clock::{Clock, SystemClock};
use crate::entropy::{Entropy, OsEntropy};
use crate::error::{Error, ErrorKind, Result, StoreError};
use crate::id::ClientId;
use crate::secret::{ClientSecret, SecretHash, SecretToken};
use crate::state::{Key, StateStore, transact};
use crate::store::{AllowedIps, Credential, Expiry, KeyedCredentialStore};
use change::{Decision, Outcome};
pub use generated::{GeneratedSecret, SecretLength};

/// Manages the credentials of a store.
#[derive(Clone)]
pub struct Credentials<S> {
    store: KeyedCredentialStore<S>,
    token: SecretToken,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// A credential to create.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is passed to `Credentials::create`"]
pub struct NewCredential {
    client_id: ClientId,
    length: SecretLength,
    allowed_ips: AllowedIps,
    expires_at: Option<u64>,
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// The client.
    pub client_id: ClientId,
    /// Its credential; `None` for a record without a usable hash, which lets nobody in.
    pub credential: Option<Credential>,
}

impl NewCredential {
    /// A credential that never expires and may be used from every address.
    pub fn new(client_id: ClientId) -> Self {
        Self {
            client_id,
            length: SecretLength::default(),
            allowed_ips: AllowedIps::default(),
            expires_at: None,
        }
    }

    /// How long its secret is. Default: 32 random bytes.
    pub fn secret_length(mut self, length: SecretLength) -> Self {
        self.length = length;
        self
    }

    /// From where it may be used; an empty list allows every address.
    pub fn allowed_ips(mut self, rules: AllowedIps) -> Self {
        self.allowed_ips = rules;
        self
    }

    /// When it expires, in milliseconds since the epoch.
    pub fn expires_at(mut self, ms: u64) -> Self {
        self.expires_at = Some(ms);
        self
    }
}

impl<S: StateStore> Credentials<S> {
    /// Manages a store. The token is the pepper of this service's hashes; the default one is empty.
    pub fn new(store: KeyedCredentialStore<S>, token: SecretToken) -> Self {
        Self { store, token, clock: Arc::new(SystemClock), entropy: Arc::new(OsEntropy) }
    }

    /// Where the time comes from. Default: the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where secrets come from. Default: the operating system's generator.
    #[must_use]
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// Creates a credential with a generated secret, which is not stored and cannot be had again.
    ///
    /// # Errors
    /// `InvalidOptions` when the client has a credential already, and when the store fails.
    pub async fn create(&self, new: NewCredential) -> Result<GeneratedSecret> {
        let secret = GeneratedSecret::new(new.length, &*self.entropy)?;
        let decision = Decision::Create {
            secret_hash: hash_client_secret(secret.peek(), &self.token),
            allowed_ips: new.allowed_ips,
            expires_at: new.expires_at,
        };
        self.decide(&new.client_id, decision).await?;
        Ok(secret)
    }

    /// A page of all credentials; `after` is what the page before returned. One that is there all the
    /// while appears at least once.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, after: Option<String>) -> Result<(Vec<Listed>, Option<String>)> {
        let (fields, next) = self.store.state().fields(self.store.records_name(), after).await?;
        let listed = fields.into_iter().filter_map(|(id, record)| {
            let credential = Credential::from_stored(&record);
            ClientId::new(id).ok().map(|client_id| Listed { client_id, credential })
        });
        Ok((listed.collect(), next))
    }

    /// One credential.
    ///
    /// # Errors
    /// `ClientNotFound`, and when the store fails.
    pub async fn get(&self, client_id: &ClientId) -> Result<Credential> {
        use crate::store::CredentialStore;
        self.store.get(client_id).await?.ok_or_else(not_found)
    }

    /// Removes a credential and its backup.
    ///
    /// # Errors
    /// `ClientNotFound`, and when the store fails.
    pub async fn delete(&self, client_id: &ClientId) -> Result<()> {
        self.decide(client_id, Decision::Delete).await.map(|_| ())
    }

    /// Replaces the secret by a generated one.
    ///
    /// # Errors
    /// `ClientNotFound`, and when the store fails.
    pub async fn regenerate(
        &self,
        client_id: &ClientId,
        length: SecretLength,
    ) -> Result<GeneratedSecret> {
        let secret = GeneratedSecret::new(length, &*self.entropy)?;
        self.set_secret(client_id, secret.peek()).await?;
        Ok(secret)
    }

    /// Replaces the secret by a chosen one.
    ///
    /// # Errors
    /// `ClientNotFound`, and when the store fails.
    pub async fn set_secret(
        &self,
        client_id: &ClientId,
        secret: &ClientSecret,
    ) -> Result<Credential> {
        self.set_hash(client_id, hash_client_secret(secret, &self.token)).await
    }

    /// Replaces the hash. The one before it is kept as the backup, if it is another one.
    ///
    /// # Errors
    /// `ClientNotFound`, and when the store fails.
    pub async fn set_hash(&self, client_id: &ClientId, hash: SecretHash) -> Result<Credential> {
        self.change(client_id, Decision::SetHash(hash)).await
    }

    /// Replaces the addresses from which it may be used; an empty list allows every address.
    ///
    /// # Errors
    /// `ClientNotFound`, and when the store fails.
    pub async fn set_allowed_ips(
        &self,
        client_id: &ClientId,
        rules: AllowedIps,
    ) -> Result<Credential> {
        self.change(client_id, Decision::SetAllowedIps(rules)).await
    }

    /// Changes when it expires.
    ///
    /// # Errors
    /// `ClientNotFound`, and when the store fails.
    pub async fn set_expiry(&self, client_id: &ClientId, expiry: Expiry) -> Result<Credential> {
        self.change(client_id, Decision::SetExpiry(expiry)).await
    }

    /// Puts the previous hash back into effect, while its backup lives. The hash that it replaces
    /// becomes the backup, so a second call undoes the first.
    ///
    /// # Errors
    /// `ClientNotFound`; `InvalidOptions` when there is no backup (any more); and when the store
    /// fails.
    pub async fn revert(&self, client_id: &ClientId) -> Result<Credential> {
        self.change(client_id, Decision::Revert).await
    }

    async fn change(&self, client_id: &ClientId, decision: Decision) -> Result<Credential> {
        let after = self.decide(client_id, decision).await?;
        after.ok_or_else(|| Error::new(ErrorKind::Internal, "a change left no credential"))
    }

    /// What stands there afterwards.
    async fn decide(&self, client_id: &ClientId, decision: Decision) -> Result<Option<Credential>> {
        let now_ms = self.clock.now_ms();
        let keys = |_: &Decision| -> Vec<Key> {
            vec![self.store.record_key(client_id), self.store.backup_key(client_id)]
        };
        let decide = |decision: &Decision, read: &[Option<String>]| {
            decision.against(&self.store, client_id, read, now_ms)
        };
        let done = transact(self.store.state(), &[decision], keys, decide).await.pop();
        let lost = || StoreError::permanent("the store did not say what became of a change");
        match done.ok_or_else(lost)?? {
            Outcome::Done(after) => Ok(after.map(|after| *after)),
            Outcome::NotFound => Err(not_found()),
            Outcome::Exists => Err(Error::invalid("clientId", "a client without a credential")),
            Outcome::NoBackup => {
                Err(Error::invalid("revert", "a previous hash whose backup still lives"))
            }
            Outcome::Unusable => {
                Err(StoreError::permanent("a stored credential has no usable hash").into())
            }
        }
    }
}

impl<S: StateStore> fmt::Debug for Credentials<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("store", &self.store).finish_non_exhaustive()
    }
}

fn not_found() -> Error {
    Error::new(ErrorKind::ClientNotFound, "there is no such credential")
}
