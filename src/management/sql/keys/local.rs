//! A key-encryption key that this process holds.

use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::super::cipher;
use super::{DataKey, KeyEncryption};
use crate::management::ManagementError;

/// A key-encryption key from a file, the environment or wherever the service keeps it.
#[derive(Clone)]
pub struct LocalKey {
    id: String,
    key: DataKey,
}

impl LocalKey {
    /// From its bytes.
    #[must_use]
    pub fn new(id: impl Into<String>, key: DataKey) -> Self {
        Self { id: id.into(), key }
    }

    /// From 64 hexadecimal digits; white space around them does not count.
    ///
    /// # Errors
    /// Permanent when it is something else; the text is not repeated.
    pub fn from_hex(id: impl Into<String>, text: &str) -> Result<Self, ManagementError> {
        Ok(Self::new(id, parse(text, "key")?))
    }

    /// From a file with 64 hexadecimal digits (white space around them does not count).
    ///
    /// # Errors
    /// Permanent when it cannot be read or has something else in it; the content is not repeated.
    pub fn from_file(
        id: impl Into<String>,
        path: impl AsRef<Path>,
    ) -> Result<Self, ManagementError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| {
            let message = format!("key file {}: cannot be read", path.display());
            ManagementError::permanent(message).with_source(error)
        })?;
        Ok(Self::new(id, parse(&text, &format!("key file {}", path.display()))?))
    }

    /// From an environment variable with 64 hexadecimal digits.
    ///
    /// # Errors
    /// Permanent when it is not set or has something else in it; the content is not repeated.
    pub fn from_env(id: impl Into<String>, variable: &str) -> Result<Self, ManagementError> {
        let text = std::env::var(variable).map(Zeroizing::new).map_err(|_| {
            ManagementError::permanent(format!("environment variable {variable}: expected a key"))
        })?;
        Ok(Self::new(id, parse(&text, &format!("environment variable {variable}"))?))
    }
}

#[async_trait]
impl KeyEncryption for LocalKey {
    fn id(&self) -> &str {
        &self.id
    }

    async fn wrap_key(&self, key: &DataKey, context: &[u8]) -> Result<Vec<u8>, ManagementError> {
        cipher::encrypt(&self.key, key.expose(), context)
    }

    async fn unwrap_key(&self, wrapped: &[u8], context: &[u8]) -> Result<DataKey, ManagementError> {
        cipher::decrypt_key(&self.key, wrapped, context)
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").field("id", &self.id).finish_non_exhaustive()
    }
}

fn parse(text: &str, place: &str) -> Result<DataKey, ManagementError> {
    let bytes = cipher::from_hex(text.trim()).map(Zeroizing::new);
    let key = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
    let wrong = || ManagementError::permanent(format!("{place}: expected 64 hexadecimal digits"));
    key.map(DataKey::new).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wrapped_key_opens_under_its_own_key_and_context_alone() {
        let key = LocalKey::new("a", DataKey::new([7; 32]));
        let other = LocalKey::new("b", DataKey::new([8; 32]));
        let wrapped = key.wrap_key(&DataKey::new([9; 32]), b"here").await.unwrap();
        assert_eq!(key.unwrap_key(&wrapped, b"here").await.unwrap().expose(), &[9; 32]);
        assert!(key.unwrap_key(&wrapped, b"there").await.is_err());
        assert!(other.unwrap_key(&wrapped, b"here").await.is_err());
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        let error = parse("not-a-key", "key file k").unwrap_err();
        assert_eq!(error.to_string(), "key file k: expected 64 hexadecimal digits");
        assert_eq!(parse(&format!(" {}\n", "0f".repeat(32)), "k").unwrap().expose(), &[15; 32]);
    }
}
