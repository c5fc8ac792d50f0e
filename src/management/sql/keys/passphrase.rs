//! A key-encryption key that is derived from a passphrase.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::super::cipher;
use super::{DataKey, KeyEncryption};
use crate::entropy::{Entropy, OsEntropy};
use crate::management::ManagementError;

const SALT: usize = 16;

/// log2 of the cost, block size, parallelism: 128 MiB and some tenths of a second per data key,
/// which each process opens once.
const COST: (u8, u32, u32) = (17, 8, 1);

/// A key-encryption key derived from a passphrase by scrypt, with a salt per data key. Deriving is
/// slow by design: tenths of a second and 128 MiB per data key when a process starts. In a build
/// without optimisation it is many seconds; `[profile.dev.package."*"]` with `opt-level = 3` mends
/// that.
#[derive(Clone)]
pub struct Passphrase {
    id: String,
    text: Arc<Zeroizing<String>>,
}

impl Passphrase {
    /// From the passphrase. `id` names it: choose a new one with each new passphrase.
    ///
    /// # Errors
    /// Permanent when it is shorter than 12 characters.
    pub fn new(id: impl Into<String>, text: impl Into<String>) -> Result<Self, ManagementError> {
        let text = Arc::new(Zeroizing::new(text.into()));
        if text.chars().count() < 12 {
            return Err(ManagementError::permanent("passphrase: expected at least 12 characters"));
        }
        Ok(Self { id: id.into(), text })
    }

    /// Takes a while and much memory, so it runs beside the tasks.
    async fn derive(&self, salt: Vec<u8>) -> Result<DataKey, ManagementError> {
        let text = self.text.clone();
        let derived = tokio::task::spawn_blocking(move || {
            let (log_n, r, p) = COST;
            let mut key = Zeroizing::new([0; 32]);
            let params = scrypt::Params::new(log_n, r, p).map_err(|error| error.to_string())?;
            scrypt::scrypt(text.as_bytes(), &salt, &params, key.as_mut_slice())
                .map_err(|error| error.to_string())?;
            Ok::<_, String>(DataKey::new(*key))
        });
        let failed =
            |why: String| ManagementError::permanent(format!("the passphrase gives no key: {why}"));
        derived.await.map_err(|error| failed(error.to_string()))?.map_err(failed)
    }
}

#[async_trait]
impl KeyEncryption for Passphrase {
    fn id(&self) -> &str {
        &self.id
    }

    async fn wrap_key(&self, key: &DataKey, context: &[u8]) -> Result<Vec<u8>, ManagementError> {
        let mut wrapped = vec![0; SALT];
        OsEntropy.fill(&mut wrapped);
        let own = self.derive(wrapped.clone()).await?;
        wrapped.extend(cipher::encrypt(&own, key.expose(), context)?);
        Ok(wrapped)
    }

    async fn unwrap_key(&self, wrapped: &[u8], context: &[u8]) -> Result<DataKey, ManagementError> {
        let (salt, sealed) = wrapped.split_at_checked(SALT).ok_or_else(cipher::refused)?;
        let own = self.derive(salt.to_vec()).await?;
        cipher::decrypt_key(&own, sealed, context)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passphrase").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_same_passphrase_opens_a_data_key() {
        let right = Passphrase::new("p", "correct horse battery").unwrap();
        let wrong = Passphrase::new("p", "correct horse batterz").unwrap();
        let wrapped = right.wrap_key(&DataKey::new([9; 32]), b"here").await.unwrap();
        assert_eq!(right.unwrap_key(&wrapped, b"here").await.unwrap().expose(), &[9; 32]);
        assert!(wrong.unwrap_key(&wrapped, b"here").await.is_err());
        assert!(right.unwrap_key(&wrapped[..8], b"here").await.is_err());
    }

    #[test]
    fn a_short_passphrase_is_refused_and_none_is_shown() {
        assert!(Passphrase::new("p", "short").is_err());
        let shown = format!("{:?}", Passphrase::new("p", "correct horse battery").unwrap());
        assert_eq!(shown, r#"Passphrase { id: "p", .. }"#);
    }
}
