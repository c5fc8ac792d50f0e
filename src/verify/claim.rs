//! What a caller presents.

use std::fmt;

use crate::auth::{ClientAddress, HexDigest, RefusalCode, Tag, parse_timestamp, whitespace};
use crate::id::ClientId;

/// The headers of a request, as received; `None` where one is missing.
#[derive(Clone, Copy, Default)]
pub struct Presented<'a> {
    /// The header `x-client-id`.
    pub client_id: Option<&'a str>,
    /// The header `x-signature`.
    pub signature: Option<&'a str>,
    /// The header `x-timestamp`.
    pub timestamp: Option<&'a str>,
    /// The header `x-nonce`.
    pub nonce: Option<&'a str>,
}

/// Complete, well-formed headers. [`Verifier::examine`](super::Verifier::examine) makes it.
#[derive(Clone)]
pub struct Claim {
    /// `None` for an id that no credential can have.
    pub(super) client_id: Option<ClientId>,
    pub(super) timestamp_ms: u64,
    pub(super) nonce: Box<str>,
    /// `None` for a text that no signature can be.
    pub(super) signature: Option<Tag>,
}

/// The same of a message.
pub(super) struct MessageClaim<'a> {
    pub(super) client_id: &'a str,
    /// `None` for a text that no signature can be.
    pub(super) signature: Option<Tag>,
}

/// The rest of a request. Exhaustive, because what is signed is frozen by contract.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The request target as the client sent it: path and query, before any routing rewrites it.
    pub target: &'a str,
    /// The whole body, as it was on the wire.
    pub body: &'a [u8],
    /// Where it comes from; see [`TrustedProxies`](crate::auth::TrustedProxies).
    pub client_address: Option<ClientAddress>,
}

/// A message with its proof.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedMessage<'a> {
    /// Who claims to have sent it.
    pub client_id: Option<&'a str>,
    /// Its signature.
    pub signature: Option<&'a str>,
    /// The hash of its canonical text, from [`message_sha256`](crate::auth::message_sha256).
    pub message_hash: &'a HexDigest,
    /// Where it comes from, where that is known.
    pub client_address: Option<ClientAddress>,
}

impl Claim {
    /// An empty header counts as missing.
    pub(super) fn read(presented: Presented<'_>) -> Result<Self, RefusalCode> {
        let client_id = present(presented.client_id.map(whitespace::trim));
        let client_id = client_id.ok_or(RefusalCode::MissingClientId)?;
        let signature = present(presented.signature).ok_or(RefusalCode::MissingSignature)?;
        let timestamp = present(presented.timestamp).ok_or(RefusalCode::MissingTimestamp)?;
        let nonce = present(presented.nonce).ok_or(RefusalCode::MissingNonce)?;
        Ok(Self {
            client_id: client_id.parse().ok(),
            timestamp_ms: parse_timestamp(timestamp).ok_or(RefusalCode::InvalidTimestamp)?,
            nonce: nonce.into(),
            signature: Tag::read(signature),
        })
    }

    /// Who claims to be calling. Not proven yet.
    #[must_use]
    pub fn client_id(&self) -> Option<&ClientId> {
        self.client_id.as_ref()
    }
}

impl<'a> MessageClaim<'a> {
    pub(super) fn read(message: &ReceivedMessage<'a>) -> Result<Self, RefusalCode> {
        let client_id = message.client_id.filter(|id| !whitespace::trim(id).is_empty());
        let client_id = client_id.ok_or(RefusalCode::MissingClientId)?;
        let signature = present(message.signature).ok_or(RefusalCode::MissingSignature)?;
        Ok(Self { client_id, signature: Tag::read(signature) })
    }
}

fn present(header: Option<&str>) -> Option<&str> {
    header.filter(|text| !text.is_empty())
}

/// A signature lets its holder in until the nonce is used: not shown.
impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").finish_non_exhaustive()
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: Presented<'_> = Presented {
        client_id: Some(" c "),
        signature: Some("s"),
        timestamp: Some("1"),
        nonce: Some("n"),
    };

    #[test]
    fn headers_are_asked_for_in_the_order_of_the_contract() {
        let code = |presented| Claim::read(presented).err().map(RefusalCode::as_str);
        let mut presented = Presented::default();
        assert_eq!(code(presented), Some("MISSING_CLIENT_ID"));
        presented.client_id = Some(" \t");
        assert_eq!(code(presented), Some("MISSING_CLIENT_ID"));
        presented.client_id = Some("c");
        assert_eq!(code(presented), Some("MISSING_SIGNATURE"));
        presented.signature = Some("");
        assert_eq!(code(presented), Some("MISSING_SIGNATURE"));
        presented.signature = Some("s");
        assert_eq!(code(presented), Some("MISSING_TIMESTAMP"));
        presented.timestamp = Some("0x10");
        assert_eq!(code(presented), Some("MISSING_NONCE"));
        presented.nonce = Some("n");
        assert_eq!(code(presented), Some("INVALID_TIMESTAMP"));
        presented.timestamp = Some("16");
        assert_eq!(code(presented), None);
    }

    #[test]
    fn the_client_id_is_trimmed_and_one_that_cannot_exist_is_nobodys() {
        let claim = Claim::read(COMPLETE).unwrap();
        assert_eq!(claim.client_id().map(ClientId::as_str), Some("c"));
        for odd in ["a\nb", "a\0", &"x".repeat(10_000)] {
            let claim = Claim::read(Presented { client_id: Some(odd), ..COMPLETE }).unwrap();
            assert_eq!(claim.client_id(), None);
        }
    }

    #[test]
    fn debug_never_shows_a_signature() {
        let claim = Claim::read(Presented { signature: Some("5167"), ..COMPLETE }).unwrap();
        assert!(!format!("{claim:?}{COMPLETE:?}").contains("5167"));
    }
}
