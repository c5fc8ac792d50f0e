//! What a signature of a message covers.

use super::digest::HexDigest;
use super::whitespace;

/// The message hash: SHA-256 of a message's canonical text, which [`Canonicalizer`] makes.
///
/// [`Canonicalizer`]: super::Canonicalizer
#[must_use]
pub fn message_sha256(canonical_text: &str) -> HexDigest {
    HexDigest::sha256(canonical_text.as_bytes())
}

/// The signing payload of a message: the trimmed client id, a line feed, the message hash.
#[must_use]
pub fn message_payload(client_id: &str, message_hash: &HexDigest) -> String {
    let mut payload = String::with_capacity(client_id.len() + 65);
    feed(client_id, message_hash, &mut |part| payload.push_str(part));
    payload
}

pub(super) fn feed(client_id: &str, message_hash: &HexDigest, sink: &mut impl FnMut(&str)) {
    sink(whitespace::trim(client_id));
    sink("\n");
    sink(message_hash.as_str());
}
