//! The one shape of all digests and signatures of this module.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::hex;

/// 64 lowercase hex digits: a SHA-256, or an HMAC-SHA256. Compares in constant time.
#[derive(Clone, Copy)]
pub struct HexDigest([u8; 64]);

impl HexDigest {
    pub(super) fn new(digest: [u8; 32]) -> Self {
        Self(hex::encode(&digest))
    }

    pub(super) fn sha256(bytes: &[u8]) -> Self {
        Self::new(Sha256::digest(bytes).into())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Hex digits are ASCII, so the fallback is never taken; it avoids a panic in the type.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl PartialEq for HexDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for HexDigest {}

impl AsRef<str> for HexDigest {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for HexDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HexDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HexDigest({})", self.as_str())
    }
}
