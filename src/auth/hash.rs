//! The hash of a client's secret.

use hmac::Mac;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::mac;
use crate::secret::{ClientSecret, SecretHash, SecretToken};

/// What is stored, propagated and signed with instead of the secret: HMAC-SHA256 of the secret under
/// the token, or SHA-256 of the secret when the token is empty.
#[must_use]
pub fn hash_client_secret(secret: &ClientSecret, token: &SecretToken) -> SecretHash {
    hash_secret_text(secret.expose(), token)
}

/// [`hash_client_secret`] for a text that was not checked: the empty text has a hash as well.
#[must_use]
pub fn hash_secret_text(secret: &str, token: &SecretToken) -> SecretHash {
    let token = token.expose().as_bytes();
    let digest: Zeroizing<[u8; 32]> = Zeroizing::new(if token.is_empty() {
        Sha256::digest(secret).into()
    } else {
        let mut keyed = mac::keyed(token);
        keyed.update(secret.as_bytes());
        mac::finish(keyed)
    });
    SecretHash::from_digest(&digest)
}
