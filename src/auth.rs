//! Proof that a caller holds a credential: the pure part, without I/O and without a clock.
//!
//! A caller signs with the *hash* of its secret ([`hash_client_secret`]); both sides hold that hash.
//! What a signature covers is text that both sides must write byte for byte alike, so most of this
//! module makes such text: [`CanonicalPath`] for requests, [`Canonicalizer`] for messages.
//!
//! ```
//! use hmac_propagator::auth::{CanonicalPath, RequestToSign, SigningKey, body_sha256};
//! use hmac_propagator::auth::hash_client_secret;
//! use hmac_propagator::secret::{ClientSecret, SecretToken};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hash = hash_client_secret(&ClientSecret::new("correct horse")?, &SecretToken::default());
//! let key = SigningKey::from_hash(&hash);
//! let request = RequestToSign {
//!     method: "POST",
//!     path: &CanonicalPath::new("/v1/orders?dry=1")?,
//!     timestamp_ms: 1_700_000_000_000,
//!     nonce: "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
//!     body: &body_sha256(b"{\"item\":7}"),
//! };
//! let signature = key.sign_request(&request);
//! assert!(key.verify_request(&request, signature.as_str()));
//! # Ok(())
//! # }
//! ```

mod body;
mod canonical;
mod decimal;
mod digest;
mod hash;
mod headers;
mod ip;
mod mac;
mod message;
mod path;
mod proxies;
mod refusal;
mod request;
mod sign;
pub(crate) mod whitespace;

pub use body::{body_sha256, body_sha256_lossy};
pub use canonical::{CanonicalError, Canonicalizer};
pub(crate) use decimal::Decimal;
pub use digest::HexDigest;
pub use hash::{hash_client_secret, hash_secret_text};
pub use headers::{SignedHeaders, X_CLIENT_ID, X_NONCE, X_SIGNATURE, X_TIMESTAMP};
pub use ip::{AllowList, ClientAddress, IpRule};
pub use message::{message_payload, message_sha256};
pub use path::{CanonicalPath, InvalidPath};
pub use proxies::TrustedProxies;
pub use refusal::RefusalCode;
pub use request::{RequestToSign, generate_nonce, parse_timestamp};
pub use sign::SigningKey;
pub(crate) use sign::Tag;
