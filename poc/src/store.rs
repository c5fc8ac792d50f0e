//! Looks straight into a peer's Redis, as a verifier of any language would.

use std::collections::HashMap;
use std::fmt;

use hmac_propagator::secret::SecretHash;
use hmac_propagator_support::Redis;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::Result;
use crate::call::Call;

/// Where the peers keep credentials of track `http`.
pub(crate) const NAMESPACE: &str = "hmac:http";

/// What a store holds for a client.
pub(crate) struct Held {
    hash: SecretHash,
}

impl Held {
    /// Whether a verifier with this store accepts the call.
    pub(crate) fn accepts(&self, call: &Call) -> bool {
        call.is_signed_with(&self.hash)
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

/// A few digits that tell hashes apart without showing them: SHA-256 of the hash.
impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = Sha256::digest(self.hash.expose());
        digest[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    secret_hash: String,
}

/// What a store holds for a client; `None`: nothing.
pub(crate) async fn holds(redis: &Redis, client: &str) -> Result<Option<Held>> {
    let key = format!("{NAMESPACE}:clients");
    let text: Option<String> = redis.command(&["HGET", &key, client]).await?;
    let Some(text) = text else { return Ok(None) };
    let stored: Stored = serde_json::from_str(&text)?;
    Ok(Some(Held { hash: SecretHash::parse(&stored.secret_hash)? }))
}

/// Whether any value in a store contains the text.
pub(crate) async fn contains(redis: &Redis, text: &str) -> Result<bool> {
    // A private server with a few dozen keys: looking at all of them is no burden.
    let keys: Vec<String> = redis.command(&["KEYS", "*"]).await?;
    for key in keys {
        let kind: String = redis.command(&["TYPE", &key]).await?;
        let found = if kind == "hash" {
            let fields: HashMap<String, String> = redis.command(&["HGETALL", &key]).await?;
            fields.values().any(|value| value.contains(text))
        } else {
            let value: Option<String> = redis.command(&["GET", &key]).await?;
            value.is_some_and(|value| value.contains(text))
        };
        if found || key.contains(text) {
            return Ok(true);
        }
    }
    Ok(false)
}
