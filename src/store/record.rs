//! A credential as it is stored, shared byte for byte with other implementations on the same Redis.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Change, Expiry};
use crate::secret::SecretHash;

/// A stored credential.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credential {
    /// The hash that requests are signed with.
    pub secret_hash: SecretHash,
    /// When it was created, in milliseconds since the epoch; 0 where old data does not say.
    pub created_at: u64,
    /// When it was last changed, in milliseconds since the epoch; 0 where old data does not say.
    pub updated_at: u64,
    /// When it expires, in milliseconds since the epoch; `None`: never.
    pub expires_at: Option<u64>,
    /// The stored rules, as they stand there. Empty: every address is allowed. Rules that another
    /// writer stored may be invalid; a verifier must not read them as "all allowed".
    pub allowed_ips: Vec<String>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("secret_hash", &self.secret_hash)
            .field("created_at", &self.created_at)
            .field("updated_at", &self.updated_at)
            .field("expires_at", &self.expires_at)
            .field("allowed_ips", &self.allowed_ips)
            .finish()
    }
}

/// The stored fields, in the order in which they are written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    secret_hash: &'a str,
    created_at: u64,
    updated_at: u64,
    expires_at: Option<u64>,
    allowed_ips: &'a [String],
}

/// What readers accept: any field may be missing.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Stored {
    secret_hash: Value,
    created_at: Value,
    updated_at: Value,
    expires_at: Value,
    allowed_ips: Value,
}

impl Credential {
    /// Reads a stored text: a JSON object, or a bare hash from very old data. `None` when there is
    /// no usable hash in it.
    pub(crate) fn from_stored(text: &str) -> Option<Self> {
        if let Ok(hash) = SecretHash::parse(text.trim().trim_matches('"')) {
            return Some(Self::of(hash, &Stored::default()));
        }
        let stored: Stored = serde_json::from_str(text).ok()?;
        let hash = SecretHash::parse(stored.secret_hash.as_str()?).ok()?;
        Some(Self::of(hash, &stored))
    }

    /// Reads a stored text whose hash is of no use, with another hash in its place: its allow-list
    /// and expiry still restrict. `None` when it is no JSON object.
    pub(crate) fn restrictions_from_stored(text: &str, hash: &SecretHash) -> Option<Self> {
        let stored: Stored = serde_json::from_str(text).ok()?;
        Some(Self::of(hash.clone(), &stored))
    }

    fn of(secret_hash: SecretHash, stored: &Stored) -> Self {
        Self {
            secret_hash,
            created_at: ms(&stored.created_at).unwrap_or(0),
            updated_at: ms(&stored.updated_at).unwrap_or(0),
            expires_at: expiry(&stored.expires_at),
            allowed_ips: rules(&stored.allowed_ips),
        }
    }

    /// The text to store.
    pub(crate) fn to_stored(&self) -> String {
        let written = Written {
            secret_hash: self.secret_hash.expose(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            expires_at: self.expires_at,
            allowed_ips: &self.allowed_ips,
        };
        // Strings and numbers only: serialising into memory has no way to fail.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// What stands there after a change; `None`: nothing.
    pub(crate) fn after(old: Option<&Self>, change: &Change, now_ms: u64) -> Option<Self> {
        let Change::Put { secret_hash, allowed_ips, expires_at } = change else {
            return None;
        };
        Some(Self {
            secret_hash: secret_hash.clone(),
            created_at: old.map_or(now_ms, |old| old.created_at),
            updated_at: now_ms,
            expires_at: match expires_at {
                Expiry::Keep => old.and_then(|old| old.expires_at),
                Expiry::Never => None,
                Expiry::At(ms) => Some(*ms),
            },
            allowed_ips: match allowed_ips {
                Some(rules) => rules.as_slice().to_vec(),
                None => old.map(|old| old.allowed_ips.clone()).unwrap_or_default(),
            },
        })
    }
}

fn ms(value: &Value) -> Option<u64> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    value.as_f64().filter(|ms| ms.is_finite()).map(|ms| ms.max(0.0) as u64)
}

/// An expiry that cannot be read counts as passed: a credential must not outlive it by a typing
/// error.
fn expiry(value: &Value) -> Option<u64> {
    match value {
        Value::Null => None,
        other => Some(ms(other).unwrap_or(0)),
    }
}

/// Entries that are no strings are kept as text: they match no address, and a list of only such
/// entries denies.
fn rules(value: &Value) -> Vec<String> {
    let text = |rule: &Value| rule.as_str().map_or_else(|| rule.to_string(), str::to_owned);
    match value {
        Value::Null => Vec::new(),
        Value::Array(rules) => rules.iter().map(text).collect(),
        other => vec![other.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(digit: &str) -> SecretHash {
        SecretHash::parse(&digit.repeat(64)).unwrap()
    }

    fn put(digit: &str) -> Change {
        Change::Put { secret_hash: hash(digit), allowed_ips: None, expires_at: Expiry::Keep }
    }

    #[test]
    fn the_stored_text_is_what_other_implementations_write() {
        let new = Credential::after(None, &put("a"), 7).unwrap();
        let expected = format!(
            r#"{{"secretHash":"{}","createdAt":7,"updatedAt":7,"expiresAt":null,"allowedIps":[]}}"#,
            "a".repeat(64)
        );
        assert_eq!(new.to_stored(), expected);
        assert_eq!(Credential::from_stored(&expected), Some(new));
    }

    #[test]
    fn an_update_keeps_what_it_does_not_name() {
        let stored = format!(
            r#"{{"secretHash":"{}","createdAt":1,"updatedAt":2,"expiresAt":9,"allowedIps":["10.0.0.0/8"]}}"#,
            "a".repeat(64)
        );
        let old = Credential::from_stored(&stored).unwrap();
        let new = Credential::after(Some(&old), &put("b"), 5).unwrap();
        assert_eq!((new.created_at, new.updated_at, new.expires_at), (1, 5, Some(9)));
        assert_eq!(new.allowed_ips, ["10.0.0.0/8"]);
        let cleared = Change::Put {
            secret_hash: hash("b"),
            allowed_ips: Some(super::super::AllowedIps::parse::<&str>(&[]).unwrap()),
            expires_at: Expiry::Never,
        };
        let new = Credential::after(Some(&old), &cleared, 5).unwrap();
        assert_eq!((new.expires_at, new.allowed_ips.len()), (None, 0));
    }

    #[test]
    fn old_and_partial_data_is_read() {
        let bare = "AB".repeat(32);
        for text in [bare.clone(), format!("\"{bare}\""), format!(r#"{{"secretHash":" {bare} "}}"#)]
        {
            let read = Credential::from_stored(&text).unwrap();
            assert_eq!(read.secret_hash.expose(), "ab".repeat(32));
            assert_eq!(read.expires_at, None);
        }
        for broken in ["", "{}", r#"{"secretHash":""}"#, r#"{"secretHash":"xyz"}"#, "[1"] {
            assert_eq!(Credential::from_stored(broken), None, "{broken}");
        }
    }

    #[test]
    fn restrictions_outlive_an_unusable_hash() {
        let text = r#"{"secretHash":"","expiresAt":9,"allowedIps":["10.0.0.0/8"]}"#;
        assert_eq!(Credential::from_stored(text), None);
        let old = Credential::restrictions_from_stored(text, &hash("b")).unwrap();
        let new = Credential::after(Some(&old), &put("b"), 5).unwrap();
        assert_eq!((new.expires_at, new.allowed_ips.len()), (Some(9), 1));
    }

    #[test]
    fn what_cannot_be_read_denies_and_never_opens() {
        let text = |more: &str| format!(r#"{{"secretHash":"{}",{more}}}"#, "a".repeat(64));
        let odd = Credential::from_stored(&text(r#""expiresAt":"soon","allowedIps":[7]"#)).unwrap();
        assert_eq!(odd.expires_at, Some(0));
        assert_eq!(odd.allowed_ips, ["7"]);
        let odd = Credential::from_stored(&text(r#""allowedIps":"10.0.0.1""#)).unwrap();
        assert_eq!(odd.allowed_ips, ["\"10.0.0.1\""]);
    }
}
