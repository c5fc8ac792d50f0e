//! Signatures: made, and checked in constant time.

use std::fmt;

use hmac::Mac;

use super::digest::HexDigest;
use super::mac::{self, KeyedMac};
use super::message;
use super::request::RequestToSign;
use crate::hex;
use crate::secret::SecretHash;

/// What signs and verifies for one credential. Setting the key costs as much as signing a short
/// payload: keep it where many requests share it.
#[derive(Clone)]
pub struct SigningKey(KeyedMac);

impl SigningKey {
    /// The key of a credential: the hex *text* of its hash, not the bytes that the text stands for.
    #[must_use]
    pub fn from_hash(hash: &SecretHash) -> Self {
        Self::from_bytes(hash.expose().as_bytes())
    }

    /// A key of any bytes, for tools that must reproduce what was signed with an odd one.
    ///
    /// Whoever verifies must not let an empty key through: everybody can sign with it.
    #[must_use]
    pub fn from_bytes(key: &[u8]) -> Self {
        Self(mac::keyed(key))
    }

    /// The header `x-signature` of a request.
    #[must_use]
    pub fn sign_request(&self, request: &RequestToSign<'_>) -> HexDigest {
        HexDigest::new(mac::finish(self.request_mac(request)))
    }

    /// Whether a received signature is the one of this request. Digits of either case are accepted.
    #[must_use]
    pub fn verify_request(&self, request: &RequestToSign<'_>, signature: &str) -> bool {
        Tag::read(signature).is_some_and(|tag| self.is_tag_of_request(request, &tag))
    }

    /// The signature of a message whose hash [`message_sha256`](super::message_sha256) made.
    #[must_use]
    pub fn sign_message(&self, client_id: &str, message_hash: &HexDigest) -> HexDigest {
        HexDigest::new(mac::finish(self.message_mac(client_id, message_hash)))
    }

    /// Whether a received signature is the one of this message. Digits of either case are accepted.
    #[must_use]
    pub fn verify_message(
        &self,
        client_id: &str,
        message_hash: &HexDigest,
        signature: &str,
    ) -> bool {
        Tag::read(signature)
            .is_some_and(|tag| self.is_tag_of_message(client_id, message_hash, &tag))
    }

    pub(crate) fn is_tag_of_request(&self, request: &RequestToSign<'_>, tag: &Tag) -> bool {
        tag.is_from(self.request_mac(request))
    }

    pub(crate) fn is_tag_of_message(
        &self,
        client_id: &str,
        message_hash: &HexDigest,
        tag: &Tag,
    ) -> bool {
        tag.is_from(self.message_mac(client_id, message_hash))
    }

    fn request_mac(&self, request: &RequestToSign<'_>) -> KeyedMac {
        let mut mac = self.0.clone();
        request.feed(&mut |part| mac.update(part.as_bytes()));
        mac
    }

    fn message_mac(&self, client_id: &str, message_hash: &HexDigest) -> KeyedMac {
        let mut mac = self.0.clone();
        message::feed(client_id, message_hash, &mut |part| mac.update(part.as_bytes()));
        mac
    }
}

/// What a signature says. Not shown: it lets its holder in until it is used.
#[derive(Clone)]
pub(crate) struct Tag([u8; 32]);

impl Tag {
    /// `None` for a text that is no signature of anything. Takes time that depends on the received
    /// text only, which its sender knows.
    pub(crate) fn read(signature: &str) -> Option<Self> {
        hex::decode(signature).map(Self)
    }

    /// In constant time.
    fn is_from(&self, mac: KeyedMac) -> bool {
        mac.verify_slice(&self.0).is_ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_key() {
        let key = SigningKey::from_hash(&SecretHash::parse(&"ab".repeat(32)).unwrap());
        assert_eq!(format!("{key:?}"), "SigningKey(redacted)");
    }

    #[test]
    fn the_key_is_the_hex_text_of_the_hash() {
        let text = "ab".repeat(32);
        let hash = SecretHash::parse(&text).unwrap();
        let message = super::super::message_sha256("x");
        assert_eq!(
            SigningKey::from_hash(&hash).sign_message("c", &message),
            SigningKey::from_bytes(text.as_bytes()).sign_message("c", &message)
        );
    }
}
