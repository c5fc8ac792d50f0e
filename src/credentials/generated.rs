//! Secrets that are made here.

use std::fmt;

use zeroize::Zeroizing;

use crate::entropy::{Entropy, OsEntropy};
use crate::error::{Error, Result};
use crate::hex;
use crate::secret::ClientSecret;

/// How many random bytes a generated secret has: 16 to 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretLength(u8);

impl SecretLength {
    /// A length in bytes. The text of the secret has two hex digits for each.
    ///
    /// # Errors
    /// `InvalidOptions` outside 16 to 128.
    pub fn bytes(bytes: usize) -> Result<Self> {
        let length = u8::try_from(bytes).ok().filter(|bytes| (16..=128).contains(bytes));
        length.map(Self).ok_or_else(|| Error::invalid("secret length", "16 to 128 bytes"))
    }
}

impl Default for SecretLength {
    fn default() -> Self {
        Self(32)
    }
}

/// A secret that was made for a client and can be shown once: it is not stored anywhere.
#[must_use = "this is the only time that the secret can be had"]
pub struct GeneratedSecret(ClientSecret);

impl GeneratedSecret {
    pub(super) fn new(length: SecretLength, entropy: &dyn Entropy) -> Result<Self> {
        let mut bytes = Zeroizing::new(vec![0; usize::from(length.0)]);
        entropy.fill(&mut bytes);
        // Sized beforehand, so that no copy stays behind in freed memory.
        let mut text = String::with_capacity(2 * bytes.len());
        hex::push(&mut text, &bytes);
        ClientSecret::new(text).map(Self)
    }

    /// A secret from the operating system's randomness, for a client whose credential is managed
    /// elsewhere.
    ///
    /// # Errors
    /// None that can be reached: a generated text is never empty.
    pub fn generate(length: SecretLength) -> Result<Self> {
        Self::new(length, &OsEntropy)
    }

    pub(super) fn peek(&self) -> &ClientSecret {
        &self.0
    }

    /// The secret, to be handed to its client.
    #[must_use]
    pub fn reveal(self) -> ClientSecret {
        self.0
    }
}

impl fmt::Debug for GeneratedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GeneratedSecret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_the_asked_length_and_is_never_the_same() {
        for bytes in [16, 32, 128] {
            let length = SecretLength::bytes(bytes).unwrap();
            let made = || GeneratedSecret::new(length, &OsEntropy).unwrap().reveal();
            assert_eq!(made().expose().len(), 2 * bytes);
            assert_ne!(made(), made());
        }
        for bytes in [0, 15, 129, 272, usize::MAX] {
            assert!(SecretLength::bytes(bytes).is_err(), "{bytes}");
        }
    }

    #[test]
    fn debug_never_shows_it() {
        let secret = GeneratedSecret::new(SecretLength::default(), &OsEntropy).unwrap();
        assert_eq!(format!("{secret:?}"), "GeneratedSecret(redacted)");
    }
}
