//! Values that must not be seen: wiped on drop, redacted in `Debug`, never printed or serialised,
//! compared in constant time.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::hex;

macro_rules! secret_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Zeroizing<String>);

        impl $name {
            /// The text itself. Whoever calls this takes over the duty to keep it out of every output.
            #[must_use]
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }

        /// Constant time in the content; the lengths may be learned.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
            }
        }

        impl Eq for $name {}
    };
}

secret_text! {
    /// What a client signs with before it is hashed: known to the client and, for the length of a
    /// call, to the authority. Never stored, never on the wire.
    ClientSecret
}

impl ClientSecret {
    /// Takes over a plain secret, as it is.
    ///
    /// # Errors
    /// `InvalidOptions` when it is empty.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = Zeroizing::new(text.into());
        if text.is_empty() {
            return Err(Error::invalid("secret", "a non-empty text"));
        }
        Ok(Self(text))
    }
}

secret_text! {
    /// The pepper that turns a plain secret into its hash (`secretToken` of the auth contract).
    /// Peers do not share it. May be empty: then the hash is an unkeyed SHA-256.
    SecretToken
}

impl SecretToken {
    /// Takes over a pepper, as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }
}

impl Default for SecretToken {
    fn default() -> Self {
        Self::new("")
    }
}

secret_text! {
    /// What authenticates messages that arrive at one peer's queue (wire contract, "Roles of a
    /// propagation secret").
    PropagationSecret
}

impl PropagationSecret {
    /// Takes over a propagation secret, as it is.
    ///
    /// # Errors
    /// `InvalidOptions` when it is empty: an empty secret on the wire means "cannot sign".
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = Zeroizing::new(text.into());
        if text.is_empty() {
            return Err(Error::invalid("propagation secret", "a non-empty text"));
        }
        Ok(Self(text))
    }

    /// Whether a received text is this secret, in time that does not depend on the content.
    #[must_use]
    pub fn matches(&self, received: &str) -> bool {
        self.0.as_bytes().ct_eq(received.as_bytes()).into()
    }
}

secret_text! {
    /// The password of the broker's user.
    BrokerPassword
}

impl BrokerPassword {
    /// Takes over a password, as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }
}

secret_text! {
    /// The hash of a client's secret: 64 lowercase hex digits. Both sides sign with this text, so it
    /// is as secret as what it was made from.
    SecretHash
}

impl SecretHash {
    /// Reads a hash as it is stored or received: white space around it goes, upper case is lowered.
    ///
    /// # Errors
    /// `InvalidOptions` when 64 hex digits do not remain; the text is not repeated in the error.
    pub fn parse(text: &str) -> Result<Self> {
        let trimmed = text.trim();
        if trimmed.len() != 64 || !trimmed.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::invalid("secretHash", "64 hexadecimal digits"));
        }
        Ok(Self(Zeroizing::new(trimmed.to_ascii_lowercase())))
    }

    /// The hash whose 32 bytes were just computed.
    pub(crate) fn from_digest(digest: &[u8; 32]) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(64));
        hex::push(&mut text, digest);
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_text() {
        let shown = format!(
            "{:?} {:?} {:?} {:?}",
            ClientSecret::new("s3cret-a").unwrap(),
            SecretToken::new("s3cret-b"),
            PropagationSecret::new("s3cret-c").unwrap(),
            SecretHash::parse(&"ab".repeat(32)).unwrap(),
        );
        assert_eq!(
            shown,
            "ClientSecret(redacted) SecretToken(redacted) PropagationSecret(redacted) SecretHash(redacted)"
        );
    }

    #[test]
    fn a_hash_is_trimmed_and_lowered_and_nothing_else_passes() {
        let upper = format!(" {} ", "AB".repeat(32));
        assert_eq!(SecretHash::parse(&upper).unwrap().expose(), "ab".repeat(32));
        for bad in ["", "ab", &"g0".repeat(32), &"ab".repeat(33)] {
            assert!(SecretHash::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn empty_secrets_are_refused() {
        assert!(ClientSecret::new("").is_err());
        assert!(PropagationSecret::new("").is_err());
        assert!(!PropagationSecret::new("a").unwrap().matches(""));
    }
}
