//! What a record says about a caller. Pure: no store and no clock.

use std::fmt;
use std::sync::OnceLock;

use super::claim::{Claim, MessageClaim, ReceivedMessage, ReceivedRequest};
use super::{Held, KeyUsed};
use crate::auth::{
    AllowList, CanonicalPath, ClientAddress, HexDigest, RefusalCode, RequestToSign, SigningKey,
    Tag, body_sha256, body_sha256_lossy,
};

/// A record, made ready for many requests.
pub(super) struct Known {
    held: Held,
    current: SigningKey,
    previous: Option<SigningKey>,
    allowed: AllowList,
}

/// One caller's case.
pub(super) struct Question<'a> {
    address: Option<ClientAddress>,
    /// `None` for a text that no signature can be.
    signature: Option<&'a Tag>,
    signed: Signed<'a>,
}

enum Signed<'a> {
    Request {
        claim: &'a Claim,
        method: &'a str,
        /// `None` for a target that is no URL: no signature covers it.
        path: Option<CanonicalPath<'a>>,
        body: Body<'a>,
    },
    Message {
        client_id: &'a str,
        hash: &'a HexDigest,
    },
}

/// Digests are made when a signature is checked, so that a request of a client that does not exist
/// costs none, and then once for all checks.
struct Body<'a> {
    bytes: &'a [u8],
    digest: OnceLock<HexDigest>,
    accept_lossy: bool,
}

impl<'a> Question<'a> {
    pub(super) fn request(
        claim: &'a Claim,
        request: &ReceivedRequest<'a>,
        accept_lossy: bool,
    ) -> Self {
        let body = Body { bytes: request.body, digest: OnceLock::new(), accept_lossy };
        let path = CanonicalPath::new(request.target).ok();
        Self {
            address: request.client_address,
            signature: claim.signature.as_ref(),
            signed: Signed::Request { claim, method: request.method, path, body },
        }
    }

    pub(super) fn message(claim: &'a MessageClaim<'a>, message: &ReceivedMessage<'a>) -> Self {
        Self {
            address: message.client_address,
            signature: claim.signature.as_ref(),
            signed: Signed::Message { client_id: claim.client_id, hash: message.message_hash },
        }
    }

    fn is_signed_with(&self, key: &SigningKey) -> bool {
        let Some(tag) = self.signature else {
            return false;
        };
        match &self.signed {
            Signed::Message { client_id, hash } => key.is_tag_of_message(client_id, hash, tag),
            Signed::Request { path: None, .. } => false,
            Signed::Request { claim, method, path: Some(path), body } => {
                let covers = |body: &HexDigest| {
                    let (timestamp_ms, nonce) = (claim.timestamp_ms, &*claim.nonce);
                    let request = RequestToSign { method, path, timestamp_ms, nonce, body };
                    key.is_tag_of_request(&request, tag)
                };
                covers(body.digest()) || body.lossy_digest().is_some_and(|digest| covers(&digest))
            }
        }
    }
}

impl Body<'_> {
    fn digest(&self) -> &HexDigest {
        self.digest.get_or_init(|| body_sha256(self.bytes))
    }

    /// Differs from the other one only for bytes that are no text.
    fn lossy_digest(&self) -> Option<HexDigest> {
        let differs = self.accept_lossy && std::str::from_utf8(self.bytes).is_err();
        differs.then(|| body_sha256_lossy(self.bytes))
    }
}

impl Known {
    pub(super) fn new(held: Held) -> Self {
        Self {
            current: SigningKey::from_hash(&held.credential().secret_hash),
            previous: held.previous().map(SigningKey::from_hash),
            allowed: AllowList::from_stored(&held.credential().allowed_ips),
            held,
        }
    }

    pub(super) fn held(&self) -> &Held {
        &self.held
    }

    /// Expiry, address, signature, in the contract's order.
    pub(super) fn judge(
        &self,
        question: &Question<'_>,
        now_ms: u64,
    ) -> Result<KeyUsed, RefusalCode> {
        if self.held.credential().expires_at.is_some_and(|last| now_ms > last) {
            return Err(RefusalCode::ClientExpired);
        }
        if self.allowed.is_restricted() {
            let address = question.address.ok_or(RefusalCode::MissingClientIp)?;
            if !self.allowed.allows(address) {
                return Err(RefusalCode::ClientIpNotAllowed);
            }
        }
        if question.is_signed_with(&self.current) {
            return Ok(KeyUsed::Current);
        }
        match &self.previous {
            Some(previous) if question.is_signed_with(previous) => Ok(KeyUsed::Previous),
            _ => Err(RefusalCode::BadSignature),
        }
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("held", &self.held).finish_non_exhaustive()
    }
}
