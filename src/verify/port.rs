//! The port to what a verifier reads and writes, and its adapter for stores in the shared layout.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::KeyUsed;
use crate::error::StoreError;
use crate::id::{ClientId, Track};
use crate::secret::SecretHash;
use crate::state::{Key, StateStore};
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

/// Who wants to come in, with a signature that was right by what was known.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Admission<'a> {
    /// The client.
    pub client_id: &'a ClientId,
    /// What its signature was right by.
    pub known: &'a Held,
    /// Which hash of that it was made with.
    pub key: KeyUsed,
    /// Whether the hash before the current one may count.
    pub with_previous: bool,
    /// Its nonce.
    pub nonce: &'a str,
    /// Its timestamp, in milliseconds since the epoch.
    pub timestamp_ms: u64,
    /// How long the nonce counts as used.
    pub remember_for: Duration,
}

/// What the store says to an admission. Exhaustive: there is nothing else to say.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// What is held about the client now. This decides, not what was known.
    pub now: Now,
    /// Whether the nonce was unused until now.
    pub unused: bool,
}

/// What is held now, beside what was known. Exhaustive.
#[derive(Clone, Debug)]
pub enum Now {
    /// The same, as far as this admission is concerned.
    Same,
    /// This; `None` when there is nothing any more.
    Changed(Option<Held>),
}

impl Admission<'_> {
    /// Compares what is held with what was known.
    #[must_use]
    pub fn compare(&self, held: Option<Held>) -> Now {
        match held {
            Some(held) if self.still(&held.record, held.backup.as_deref()) => Now::Same,
            held => Now::Changed(held),
        }
    }

    /// Texts are compared before they are read: nearly always they are the same.
    fn still(&self, record: &str, backup: Option<&String>) -> bool {
        let same_backup = || self.known.backup.as_deref() == backup;
        *self.known.record == record && (self.key == KeyUsed::Current || same_backup())
    }
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

    /// Reads what is held about a client, and then uses up a nonce. Using it up is atomic, also
    /// between processes that share the store. One round trip, where the store can do that.
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
        let keys = self.read_by_verifiers(client_id, with_previous);
        held(self.state().get(keys.as_slice()).await?)
    }

    async fn admit(&self, admission: &Admission<'_>) -> Result<Admitted, StoreError> {
        let Admission { client_id, with_previous, nonce, timestamp_ms, remember_for, .. } =
            *admission;
        let keys = self.read_by_verifiers(client_id, with_previous);
        let nonce = self.nonce_name(client_id, nonce, timestamp_ms);
        let claimed = self.state().read_and_claim(keys.as_slice(), nonce, remember_for).await;
        let (values, unused) = claimed?;
        let now = match values.as_slice() {
            [Some(record), backup @ ..] => {
                let backup = backup.first().and_then(Option::as_ref);
                if admission.still(record, backup) {
                    Now::Same
                } else {
                    Now::Changed(held(values)?)
                }
            }
            _ => Now::Changed(None),
        };
        Ok(Admitted { now, unused })
    }
}

/// Where a client's record stands, and the backup behind it if that counts. Without a list of its
/// own, because each request needs it.
enum Read {
    Record([Key; 1]),
    WithBackup([Key; 2]),
}

impl Read {
    fn as_slice(&self) -> &[Key] {
        match self {
            Self::Record(keys) => keys,
            Self::WithBackup(keys) => keys,
        }
    }
}

impl<S: StateStore> KeyedCredentialStore<S> {
    fn read_by_verifiers(&self, client_id: &ClientId, with_previous: bool) -> Read {
        let record = self.record_key(client_id);
        if with_previous {
            Read::WithBackup([record, self.backup_key(client_id)])
        } else {
            Read::Record([record])
        }
    }
}

/// What a record says, and the backup behind it if that was read.
fn held(values: Vec<Option<String>>) -> Result<Option<Held>, StoreError> {
    let mut values = values.into_iter();
    let (record, backup) = (values.next().flatten(), values.next().flatten());
    record.map(|record| Held::from_stored(record, backup)).transpose()
}
