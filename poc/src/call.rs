//! A client's signed call, and a verifier's look at it.

use hmac_propagator::auth::{
    CanonicalPath, HexDigest, RequestToSign, SigningKey, body_sha256, generate_nonce,
    hash_client_secret,
};
use hmac_propagator::secret::{ClientSecret, SecretHash, SecretToken};

use crate::Result;

/// A request as it arrives at a verifier.
pub(crate) struct Call {
    nonce: String,
    signature: HexDigest,
}

const METHOD: &str = "POST";
const PATH: &str = "/v1/orders";
const BODY: &[u8] = br#"{"item":7}"#;
const TIMESTAMP_MS: u64 = 1_790_000_000_000;

impl Call {
    /// What a client sends that was given a secret of the authority with this pepper.
    pub(crate) fn signed(secret: &str, pepper: &str) -> Result<Self> {
        let hash = hash_client_secret(&ClientSecret::new(secret)?, &SecretToken::new(pepper));
        let nonce = generate_nonce();
        let path = CanonicalPath::new(PATH)?;
        let signature =
            SigningKey::from_hash(&hash).sign_request(&request(&path, &nonce, &body_sha256(BODY)));
        Ok(Self { nonce, signature })
    }

    /// Whether the signature is one of this hash.
    pub(crate) fn is_signed_with(&self, hash: &SecretHash) -> bool {
        let Ok(path) = CanonicalPath::new(PATH) else { return false };
        let body = body_sha256(BODY);
        let request = request(&path, &self.nonce, &body);
        SigningKey::from_hash(hash).verify_request(&request, self.signature.as_str())
    }
}

fn request<'a>(
    path: &'a CanonicalPath<'_>,
    nonce: &'a str,
    body: &'a HexDigest,
) -> RequestToSign<'a> {
    RequestToSign { method: METHOD, path, timestamp_ms: TIMESTAMP_MS, nonce, body }
}
