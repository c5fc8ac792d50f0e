//! Where the key comes from.

use std::sync::{Arc, Mutex, PoisonError};

use crate::auth::SigningKey;
use crate::error::{Error, ErrorKind, Result};
use crate::id::ClientId;
use crate::secret::SecretHash;
use crate::store::CredentialStore;

pub(super) enum Source {
    Fixed(SigningKey),
    Store { client_id: ClientId, store: Arc<dyn CredentialStore>, kept: Mutex<Option<SigningKey>> },
}

impl Source {
    pub(super) fn fixed(hash: &SecretHash) -> Self {
        Self::Fixed(SigningKey::from_hash(hash))
    }

    pub(super) fn store(client_id: ClientId, store: Arc<dyn CredentialStore>) -> Self {
        Self::Store { client_id, store, kept: Mutex::new(None) }
    }

    pub(super) fn can_change(&self) -> bool {
        matches!(self, Self::Store { .. })
    }

    /// The key that was good last; read from the store where none is kept. `None`: the client has no
    /// credential.
    pub(super) async fn key(&self) -> Result<Option<SigningKey>> {
        match self {
            Self::Fixed(key) => return Ok(Some(key.clone())),
            Self::Store { kept, .. } => {
                let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if kept.is_some() {
                    return Ok(kept);
                }
            }
        }
        self.key_anew().await
    }

    /// The key that the store holds now.
    pub(super) async fn key_anew(&self) -> Result<Option<SigningKey>> {
        match self {
            Self::Fixed(key) => Ok(Some(key.clone())),
            Self::Store { client_id, store, kept } => {
                let credential = store.get(client_id).await?;
                let key = credential.map(|found| SigningKey::from_hash(&found.secret_hash));
                kept.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&key);
                Ok(key)
            }
        }
    }
}

pub(super) fn no_credential() -> Error {
    Error::new(ErrorKind::UnknownClient, "the store has no credential of this client")
}
