//! Keys that encrypt the data keys. The data keys encrypt what is stored.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::management::ManagementError;

mod local;
mod passphrase;

pub use local::LocalKey;
pub use passphrase::Passphrase;

/// A key-encryption key: it never touches what is stored, only the data keys that do. Implement it
/// over a key management service, or use [`LocalKey`] or [`Passphrase`].
#[async_trait]
pub trait KeyEncryption: Send + Sync + fmt::Debug + 'static {
    /// Names the key, at most 128 bytes. Stored beside what it encrypted; never reused for another
    /// key.
    fn id(&self) -> &str;

    /// Encrypts a data key. `context` is associated data: [`KeyEncryption::unwrap_key`] must fail
    /// under any other.
    ///
    /// # Errors
    /// Transient when the service is away.
    async fn wrap_key(&self, key: &DataKey, context: &[u8]) -> Result<Vec<u8>, ManagementError>;

    /// Decrypts a data key.
    ///
    /// # Errors
    /// Transient when the service is away, permanent when this is not what it encrypted under this
    /// context.
    async fn unwrap_key(&self, wrapped: &[u8], context: &[u8]) -> Result<DataKey, ManagementError>;
}

/// The keys of a deployment: one that encrypts, and older ones under which data keys may still be.
#[derive(Clone, Debug)]
#[must_use]
pub struct KeyRing {
    pub(super) current: Arc<dyn KeyEncryption>,
    pub(super) older: Vec<Arc<dyn KeyEncryption>>,
}

impl KeyRing {
    /// With this key.
    pub fn new(current: impl KeyEncryption) -> Self {
        Self { current: Arc::new(current), older: Vec::new() }
    }

    /// A key that was current before. Needed until data keys are wrapped anew, see
    /// [`SqlManagement::rewrap_keys`](super::SqlManagement::rewrap_keys).
    pub fn older(mut self, key: impl KeyEncryption) -> Self {
        self.older.push(Arc::new(key));
        self
    }

    pub(super) fn find(&self, id: &str) -> Option<&Arc<dyn KeyEncryption>> {
        std::iter::once(&self.current).chain(&self.older).find(|key| key.id() == id)
    }
}

/// A 256-bit key. Wiped when it goes, never shown.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    /// Takes over a key.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key itself. Whoever calls this takes over the duty to keep it out of every output.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(redacted)")
    }
}
