//! Seals what must stay readable and opens it again.
//!
//! A sealed value says by which data key, and is bound to its place: moved to another row, column
//! or revision it does not open. Without a key ring values are stored readable, marked as such;
//! with one, a readable value is refused, because whoever can write to the database could have put
//! it there.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use serde_json::json;
use zeroize::Zeroizing;

use super::cipher;
use super::db::Tx;
use super::failure::Failure;
use super::keys::{DataKey, KeyRing};
use crate::entropy::{Entropy, OsEntropy};
use crate::id::{CredentialKey, PeerQueue, Revision};
use crate::management::ManagementError;

const READABLE: &str = "plain:";
const SEALED: &str = "aes256gcm:";

/// Where a value is stored. It opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    Hash(&'a CredentialKey, Revision),
    Plain(&'a CredentialKey, Revision),
    Target(&'a PeerQueue),
}

/// The data keys of a database.
#[derive(Debug)]
pub(super) struct Vault {
    ring: Option<KeyRing>,
    keys: RwLock<Keys>,
}

#[derive(Clone, Debug, Default)]
struct Keys {
    by_id: BTreeMap<String, DataKey>,
    active: Option<String>,
}

/// A data key on its way into the table.
pub(super) struct NewKey {
    id: String,
    kek: String,
    key: DataKey,
    wrapped: String,
}

impl Vault {
    /// Not usable before [`Vault::load`].
    pub(super) fn new(ring: Option<KeyRing>) -> Arc<Self> {
        Arc::new(Self { ring, keys: RwLock::default() })
    }

    pub(super) fn ring(&self) -> Option<&KeyRing> {
        self.ring.as_ref()
    }

    /// Reads all data keys. One that is known already is not unwrapped again: that may be slow, and
    /// transactions wait for it.
    ///
    /// # Errors
    /// Permanent when one is under a key that the ring does not have, or there are data keys and no
    /// ring: going on would end in rows that nobody can read.
    pub(super) async fn load(&self, tx: &mut Tx) -> Result<(), Failure> {
        let sql = "SELECT key_id, kek_id, wrapped, active FROM hmac_data_keys";
        let known = self.read().by_id.clone();
        let mut keys = Keys::default();
        for record in tx.fetch(sql, Vec::new()).await? {
            let (id, kek) = (record.text("key_id")?, record.text("kek_id")?);
            if record.flag("active")? {
                keys.active = Some(id.clone());
            }
            if let Some(key) = known.get(&id) {
                keys.by_id.insert(id, key.clone());
                continue;
            }
            let ring = self.ring.as_ref().and_then(|ring| ring.find(&kek)).ok_or_else(|| {
                ManagementError::permanent(format!(
                    "data key {id} is under key {kek}, which is not given"
                ))
            })?;
            let wrapped = cipher::from_hex(&record.text("wrapped")?).ok_or_else(cipher::refused)?;
            let key = ring.unwrap_key(&wrapped, &context(&id)).await?;
            keys.by_id.insert(id, key);
        }
        *self.write() = keys;
        Ok(())
    }

    /// Makes a data key, which is nowhere yet. `None` without a ring. Wrapping may be slow: call it
    /// before the transaction.
    pub(super) async fn make(&self) -> Result<Option<NewKey>, ManagementError> {
        let Some(ring) = &self.ring else { return Ok(None) };
        let mut bytes = Zeroizing::new([0; 32]);
        OsEntropy.fill(bytes.as_mut_slice());
        let key = DataKey::new(*bytes);
        let id = cipher::to_hex(&OsEntropy.bytes16());
        let wrapped = cipher::to_hex(&ring.current.wrap_key(&key, &context(&id)).await?);
        Ok(Some(NewKey { id, kek: ring.current.id().to_owned(), key, wrapped }))
    }

    /// Stores a new data key as the active one. Others still open. After the commit call
    /// [`Vault::know`].
    pub(super) async fn store(tx: &mut Tx, new: &NewKey) -> Result<(), Failure> {
        tx.execute("UPDATE hmac_data_keys SET active = 0", Vec::new()).await?;
        let insert = format!(
            "INSERT INTO hmac_data_keys (key_id, kek_id, wrapped, created_at, active) VALUES (?, ?, ?, {}, 1)",
            tx.dialect().now_ms()
        );
        let values =
            vec![new.id.as_str().into(), new.kek.as_str().into(), new.wrapped.as_str().into()];
        tx.execute(&insert, values).await?;
        Ok(())
    }

    /// Uses a data key that was stored from now on.
    pub(super) fn know(&self, new: NewKey) {
        let mut keys = self.write();
        keys.active = Some(new.id.clone());
        keys.by_id.insert(new.id, new.key);
    }

    pub(super) fn has_active_key(&self) -> bool {
        self.read().active.is_some()
    }

    /// Every data key, wrapped anew under the ring's current key: its id, and that. To be called
    /// before the transaction, too.
    pub(super) async fn wrapped_anew(&self) -> Result<Vec<(String, String)>, ManagementError> {
        let Some(ring) = &self.ring else { return Ok(Vec::new()) };
        let keys = self.read().by_id.clone();
        let mut done = Vec::with_capacity(keys.len());
        for (id, key) in keys {
            let wrapped = ring.current.wrap_key(&key, &context(&id)).await?;
            done.push((id, cipher::to_hex(&wrapped)));
        }
        Ok(done)
    }

    /// Another process may have made a data key since: reads the keys again if one of these values
    /// needs it.
    pub(super) async fn prepare<'v>(
        &self,
        tx: &mut Tx,
        sealed: impl Iterator<Item = &'v str>,
    ) -> Result<(), Failure> {
        let unknown = {
            let keys = self.read();
            let mut ids = sealed.filter_map(key_id);
            ids.any(|id| !keys.by_id.contains_key(id))
        };
        if unknown && self.ring.is_some() {
            self.load(tx).await?;
        }
        Ok(())
    }

    /// The stored form of a value.
    pub(super) fn seal(&self, place: Place<'_>, text: &str) -> Result<String, ManagementError> {
        let keys = self.read();
        let active = keys.active.as_ref().and_then(|id| Some((id, keys.by_id.get(id)?)));
        match (active, &self.ring) {
            (Some((id, key)), _) => {
                let sealed = cipher::encrypt(key, text.as_bytes(), &place.context(id))?;
                Ok(format!("{SEALED}{id}:{}", cipher::to_hex(&sealed)))
            }
            (None, None) => Ok(format!("{READABLE}{text}")),
            (None, Some(_)) => Err(ManagementError::permanent("no data key is active")),
        }
    }

    /// A value from its stored form.
    pub(super) fn open(
        &self,
        place: Place<'_>,
        stored: &str,
    ) -> Result<Zeroizing<String>, ManagementError> {
        if let Some(text) = stored.strip_prefix(READABLE) {
            return match self.ring {
                None => Ok(Zeroizing::new(text.to_owned())),
                Some(_) => Err(ManagementError::permanent(
                    "a stored value is not encrypted: re-encrypt after giving a key",
                )),
            };
        }
        self.open_sealed(place, stored)
    }

    /// As [`Vault::open`]; a readable value is taken too. For re-encryption alone.
    pub(super) fn open_any(
        &self,
        place: Place<'_>,
        stored: &str,
    ) -> Result<Zeroizing<String>, ManagementError> {
        match stored.strip_prefix(READABLE) {
            Some(text) => Ok(Zeroizing::new(text.to_owned())),
            None => self.open_sealed(place, stored),
        }
    }

    /// Whether a stored value is under the data key that is used now.
    pub(super) fn is_current(&self, stored: &str) -> bool {
        key_id(stored).map(str::to_owned) == self.read().active
    }

    fn open_sealed(
        &self,
        place: Place<'_>,
        stored: &str,
    ) -> Result<Zeroizing<String>, ManagementError> {
        let id = key_id(stored).ok_or_else(cipher::refused)?;
        let keys = self.read();
        let key = keys.by_id.get(id).ok_or_else(cipher::refused)?;
        let hex = stored.get(SEALED.len() + id.len() + 1..).ok_or_else(cipher::refused)?;
        let sealed = cipher::from_hex(hex).ok_or_else(cipher::refused)?;
        let plain = cipher::decrypt(key, &sealed, &place.context(id))?;
        let text = std::str::from_utf8(&plain).map_err(|_| cipher::refused())?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// What binds a ciphertext to its place and to its data key.
    fn context(self, key_id: &str) -> Vec<u8> {
        let place = match self {
            Self::Hash(key, revision) => {
                json!(["hmac_credentials.secret_hash", key.track, key.client_id, revision])
            }
            Self::Plain(key, revision) => {
                json!(["hmac_credentials.plain_secret", key.track, key.client_id, revision])
            }
            Self::Target(queue) => json!(["hmac_propagation_targets.propagation_secret", queue]),
        };
        json!([key_id, place]).to_string().into_bytes()
    }
}

fn context(key_id: &str) -> Vec<u8> {
    json!(["hmac_data_keys", key_id]).to_string().into_bytes()
}

fn key_id(stored: &str) -> Option<&str> {
    stored.strip_prefix(SEALED)?.split_once(':').map(|(id, _)| id)
}
