//! The port to what a verifier reads and writes, and its adapter for stores in the shared layout.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::KeyUsed;
use crate::error::StoreError;
use crate::id::{ClientId, Track};
use crate::secret::SecretHash;
use crate::state::{Committed, Key, StateStore, Transaction, Write};
use crate::store::{Credential, KeyedCredentialStore};

/// What a store holds about a client.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    credential: Credential,
    previous: Option<SecretHash>,
    /// As it stands in the store, to recognise any change by anybody.
    record: Zeroizing<String>,
    backup: Option<Zeroizing<String>>,
}

/// Who wants to come in, and on what grounds.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Admission<'a> {
    /// The client.
    pub client_id: &'a ClientId,
    /// What its signature was checked against.
    pub held: &'a Held,
    /// Which hash of that it was made with.
    pub key: KeyUsed,
    /// Its nonce.
    pub nonce: &'a str,
    /// Its timestamp, in milliseconds since the epoch.
    pub timestamp_ms: u64,
    /// How long the nonce counts as used.
    pub remember_for: Duration,
}

/// What the store says to an admission. Exhaustive: there is nothing else to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// The store holds what was checked, and the nonce is used from now on.
    Fresh,
    /// The nonce was used before.
    Replayed,
    /// The store holds something else by now. The nonce was not touched.
    Outdated,
}

/// What a verifier needs: credentials, and nonces that can be used once.
///
/// # Cancellation
/// A dropped admission may or may not have used up its nonce.
#[async_trait]
pub trait VerifierStore: Send + Sync + fmt::Debug + 'static {
    /// The track whose credentials these are.
    fn track(&self) -> Track;

    /// What is held about a client; the hash before the current one only if it is asked for.
    ///
    /// # Errors
    /// When the store cannot be reached, or a record has no usable hash.
    async fn look_up(
        &self,
        client_id: &ClientId,
        with_previous: bool,
    ) -> Result<Option<Held>, StoreError>;

    /// Uses up a nonce, provided that the store still holds the hash that the signature was checked
    /// against, and the same expiry and addresses.
    ///
    /// # Errors
    /// When the store cannot be reached or refuses: the caller is then refused too.
    async fn admit(&self, admission: &Admission<'_>) -> Result<Admitted, StoreError>;
}

impl Held {
    /// What a stored text says, with the text of the backup where there is one. A backup that cannot
    /// be read counts as none.
    ///
    /// # Errors
    /// Permanent when there is no usable hash in the record.
    pub fn from_stored(
        record: impl Into<String>,
        backup: Option<String>,
    ) -> Result<Self, StoreError> {
        let record = Zeroizing::new(record.into());
        let credential = Credential::from_stored(&record)
            .ok_or_else(|| StoreError::permanent("a stored credential has no usable hash"))?;
        let previous = backup.as_deref().and_then(|text| SecretHash::parse(text).ok());
        Ok(Self { credential, previous, record, backup: backup.map(Zeroizing::new) })
    }

    /// What a store says that hands out credentials rather than texts.
    #[must_use]
    pub fn new(credential: Credential, previous: Option<SecretHash>) -> Self {
        let record = Zeroizing::new(credential.to_stored());
        let backup = previous.as_ref().map(|hash| Zeroizing::new(hash.expose().to_owned()));
        Self { credential, previous, record, backup }
    }

    /// The credential.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The hash before the current one.
    #[must_use]
    pub fn previous(&self) -> Option<&SecretHash> {
        self.previous.as_ref()
    }
}

/// The texts hold hashes: not shown.
impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("credential", &self.credential)
            .field("previous", &self.previous)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<S: StateStore> VerifierStore for KeyedCredentialStore<S> {
    fn track(&self) -> Track {
        crate::store::CredentialStore::track(self)
    }

    async fn look_up(
        &self,
        client_id: &ClientId,
        with_previous: bool,
    ) -> Result<Option<Held>, StoreError> {
        let mut keys = vec![self.record_key(client_id)];
        keys.extend(with_previous.then(|| self.backup_key(client_id)));
        let mut values = self.state().get(&keys).await?.into_iter();
        let (record, backup) = (values.next().flatten(), values.next().flatten());
        record.map(|record| Held::from_stored(record, backup)).transpose()
    }

    async fn admit(&self, admission: &Admission<'_>) -> Result<Admitted, StoreError> {
        let nonce = self.nonce_key(admission.client_id, admission.nonce, admission.timestamp_ms);
        let grounds = self.grounds(admission);
        let transaction = grounds
            .iter()
            .cloned()
            .fold(Transaction::default(), |t, (key, text)| t.check(key, text))
            .check(nonce.clone(), None)
            .write(Write::set_for(nonce.clone(), "1", admission.remember_for));
        match self.state().commit(&[transaction]).await?.pop() {
            Some(Committed::Done) => Ok(Admitted::Fresh),
            Some(Committed::Conflict) => self.which(grounds, nonce).await,
            Some(Committed::Refused(why)) => Err(StoreError::permanent(why)),
            None => Err(StoreError::permanent("the store did not say what became of a nonce")),
        }
    }
}

type Grounds = Vec<(Key, Option<String>)>;

impl<S: StateStore> KeyedCredentialStore<S> {
    /// What must still stand there: the record, and the backup if it was what let the caller in.
    fn grounds(&self, admission: &Admission<'_>) -> Grounds {
        let Admission { client_id, held, key, .. } = admission;
        let text = |text: &Zeroizing<String>| Some(String::clone(text));
        let mut grounds = vec![(self.record_key(client_id), text(&held.record))];
        if *key == KeyUsed::Previous {
            grounds.push((self.backup_key(client_id), held.backup.as_ref().and_then(text)));
        }
        grounds
    }

    /// Which of its conditions made an admission fail. A change of the record comes first: what is
    /// judged anew then finds the nonce used, if it is.
    async fn which(&self, grounds: Grounds, nonce: Key) -> Result<Admitted, StoreError> {
        let (mut keys, expected): (Vec<_>, Vec<_>) = grounds.into_iter().unzip();
        keys.push(nonce);
        let mut found = self.state().get(&keys).await?;
        let used = found.pop().flatten().is_some();
        Ok(if used && found == expected { Admitted::Replayed } else { Admitted::Outdated })
    }
}
