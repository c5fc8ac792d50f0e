//! What a signature of a request covers.

use std::borrow::Cow;

use super::decimal::Decimal;
use super::digest::HexDigest;
use super::path::CanonicalPath;
use crate::entropy::{Entropy, OsEntropy};
use crate::hex;

/// The parts of a request that are signed. Exhaustive, because the payload is frozen by contract.
#[derive(Clone, Copy, Debug)]
pub struct RequestToSign<'a> {
    /// The method; its case does not matter.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a CanonicalPath<'a>,
    /// When it was signed: milliseconds since the epoch, the header `x-timestamp`.
    pub timestamp_ms: u64,
    /// The header `x-nonce`, as it is sent.
    pub nonce: &'a str,
    /// The digest of the body, from [`body_sha256`](super::body_sha256).
    pub body: &'a HexDigest,
}

impl RequestToSign<'_> {
    /// The signing payload: upper-case method, path, timestamp, nonce and body digest, joined by
    /// line feeds.
    #[must_use]
    pub fn payload(&self) -> String {
        let mut payload = String::with_capacity(
            self.method.len() + self.path.as_str().len() + self.nonce.len() + 88,
        );
        self.feed(&mut |part| payload.push_str(part));
        payload
    }

    /// Hands the payload over piece by piece, so that a MAC needs no copy of it.
    pub(super) fn feed(&self, sink: &mut impl FnMut(&str)) {
        sink(&upper_case(self.method));
        sink("\n");
        sink(self.path.as_str());
        sink("\n");
        sink(Decimal::new(self.timestamp_ms).as_str());
        sink("\n");
        sink(self.nonce);
        sink("\n");
        sink(self.body.as_str());
    }
}

/// The milliseconds of an `x-timestamp` header: ASCII digits only, at least one, no sign, no blank.
///
/// A number beyond 64 bits is the largest one that fits: it is well-formed and out of every window.
#[must_use]
pub fn parse_timestamp(header: &str) -> Option<u64> {
    if header.is_empty() {
        return None;
    }
    header.bytes().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

/// A fresh nonce: 16 random bytes as 32 lowercase hex digits.
#[must_use]
pub fn generate_nonce() -> String {
    nonce_from(&OsEntropy)
}

pub(super) fn nonce_from(entropy: &dyn Entropy) -> String {
    let mut nonce = String::with_capacity(32);
    hex::push(&mut nonce, &entropy.bytes16());
    nonce
}

/// As JavaScript's `toUpperCase`. Nearly every caller passes upper case already: no copy then.
fn upper_case(method: &str) -> Cow<'_, str> {
    if method.bytes().all(|b| b.is_ascii() && !b.is_ascii_lowercase()) {
        Cow::Borrowed(method)
    } else {
        Cow::Owned(method.to_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_digits_and_nothing_else() {
        assert_eq!(parse_timestamp("1700000000000"), Some(1_700_000_000_000));
        assert_eq!(parse_timestamp("007"), Some(7));
        assert_eq!(parse_timestamp(&"9".repeat(40)), Some(u64::MAX));
        for bad in ["", " ", "-1", "+1", "0x10", "1e3", "1.0", " 1", "1 ", "1\n", "１", "NaN"] {
            assert_eq!(parse_timestamp(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_nonce_is_the_hex_text_of_sixteen_random_bytes() {
        #[derive(Debug)]
        struct Counting;
        impl Entropy for Counting {
            fn fill(&self, buffer: &mut [u8]) {
                for (value, byte) in (0xf0..=0xff).zip(buffer) {
                    *byte = value;
                }
            }
        }
        assert_eq!(nonce_from(&Counting), "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        assert_ne!(generate_nonce(), generate_nonce());
    }
}
