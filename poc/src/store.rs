//! Looks straight into a peer's Redis, as a verifier of any language would.

use std::collections::BTreeMap;
use std::fmt;

use hmac_propagator::secret::SecretHash;
use hmac_propagator_support::Redis;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Result;

/// Where the peers keep credentials of track `http`.
pub const NAMESPACE: &str = "hmac:http";

/// What a store holds for a client.
#[derive(PartialEq)]
pub struct Held(SecretHash);

impl Held {
    /// Whether it is this hash.
    #[must_use]
    pub fn is(&self, hash: &SecretHash) -> bool {
        self.0 == *hash
    }
}

/// A few digits that tell hashes apart without showing them: SHA-256 of the hash.
impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = Sha256::digest(self.0.expose());
        digest[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a store holds for a client; `None`: nothing.
pub(crate) async fn holds(redis: &Redis, client: &str) -> Result<Option<Held>> {
    let key = format!("{NAMESPACE}:clients");
    let text: Option<String> = redis.command(&["HGET", &key, client]).await?;
    let Some(text) = text else { return Ok(None) };
    let stored: Value = serde_json::from_str(&text)?;
    let hash = stored["secretHash"].as_str().ok_or("the stored credential has no hash")?;
    Ok(Some(Held(SecretHash::parse(hash)?)))
}

/// All that a store contains, keys and values.
pub(crate) async fn contents(redis: &Redis) -> Result<String> {
    // A private server with a few dozen keys: looking at all of them is no burden.
    let keys: Vec<String> = redis.command(&["KEYS", "*"]).await?;
    let mut text = String::new();
    for key in keys {
        let kind: String = redis.command(&["TYPE", &key]).await?;
        let values: Vec<String> = match kind.as_str() {
            "hash" => {
                let fields: BTreeMap<String, String> = redis.command(&["HGETALL", &key]).await?;
                fields.into_iter().map(|(name, value)| format!("{name} {value}")).collect()
            }
            "string" => {
                // It may have run out since its name was read.
                let value: Option<String> = redis.command(&["GET", &key]).await?;
                value.into_iter().collect()
            }
            "none" => Vec::new(),
            // Not looked into means not known to be clean.
            other => return Err(format!("Redis: {key} is a {other}").into()),
        };
        text.push_str(&format!("{key} {}\n", values.join("\n")));
    }
    Ok(text)
}
