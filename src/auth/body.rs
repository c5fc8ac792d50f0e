//! The digest of a request's body.

use super::digest::HexDigest;

/// SHA-256 of the body as it is on the wire. This is what verifiers of this crate expect.
#[must_use]
pub fn body_sha256(body: &[u8]) -> HexDigest {
    HexDigest::sha256(body)
}

/// The digest that deployed Node verifiers expect: they decode the body as UTF-8 first, and whatever
/// is not UTF-8 becomes U+FFFD.
///
/// Equal to [`body_sha256`] for every valid UTF-8 body. For others it is weaker, because different
/// bodies share it (`ff` and `fe`): use it only to sign a binary body for a Node verifier.
#[must_use]
pub fn body_sha256_lossy(body: &[u8]) -> HexDigest {
    HexDigest::sha256(String::from_utf8_lossy(body).as_bytes())
}
