//! The four headers of a signed request.

use super::body::body_sha256;
use super::digest::HexDigest;
use super::path::CanonicalPath;
use super::request::{RequestToSign, nonce_from};
use super::sign::SigningKey;
use crate::clock::Clock;
use crate::entropy::Entropy;

/// Who signed.
pub const X_CLIENT_ID: &str = "x-client-id";
/// When, in milliseconds since the epoch.
pub const X_TIMESTAMP: &str = "x-timestamp";
/// A text that the client uses once.
pub const X_NONCE: &str = "x-nonce";
/// The signature, in hex.
pub const X_SIGNATURE: &str = "x-signature";

/// What is added to a request so that a verifier lets it through. Good for one sending.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignedHeaders {
    /// The header [`X_TIMESTAMP`].
    pub timestamp_ms: u64,
    /// The header [`X_NONCE`].
    pub nonce: String,
    /// The header [`X_SIGNATURE`].
    pub signature: HexDigest,
}

impl SignedHeaders {
    /// Signs a request now, with a fresh nonce. The client id is not covered: it selects the key.
    #[must_use]
    pub fn sign(
        key: &SigningKey,
        method: &str,
        path: &CanonicalPath<'_>,
        body: &[u8],
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Self {
        let (timestamp_ms, nonce) = (clock.now_ms(), nonce_from(entropy));
        let body = body_sha256(body);
        let request = RequestToSign { method, path, timestamp_ms, nonce: &nonce, body: &body };
        let signature = key.sign_request(&request);
        Self { timestamp_ms, nonce, signature }
    }

    /// Names and values, in the order of the contract.
    #[must_use]
    pub fn with_client(&self, client_id: &str) -> [(&'static str, String); 4] {
        [
            (X_CLIENT_ID, client_id.to_owned()),
            (X_TIMESTAMP, self.timestamp_ms.to_string()),
            (X_NONCE, self.nonce.clone()),
            (X_SIGNATURE, self.signature.to_string()),
        ]
    }
}
