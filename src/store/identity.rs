//! Which store it is that holds the credentials: how it is noticed that they may be gone.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The identity of what a credential store holds: another one from the moment at which that was lost,
/// or may have been. 1 to 64 ASCII letters, digits and hyphens; a UUID v4 when made here.
///
/// A target names it with its answers, so that the source knows for which of them the store stands
/// that the target has now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreId(String);

impl StoreId {
    /// Longest accepted identity, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Checks and takes over an identity.
    ///
    /// # Errors
    /// `InvalidOptions` when it breaks the rule.
    pub fn new(id: impl Into<String>) -> Result<Self> {
        let id = id.into();
        let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if id.is_empty() || id.len() > Self::MAX_LEN || !plain {
            return Err(Error::invalid("store id", "1 to 64 ASCII letters, digits or hyphens"));
        }
        Ok(Self(id))
    }

    /// The identity as it stands in messages, stores and tables.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for StoreId {
    type Error = Error;
    fn try_from(id: String) -> Result<Self> {
        Self::new(id)
    }
}

impl From<StoreId> for String {
    fn from(id: StoreId) -> Self {
        id.0
    }
}

/// What stands in the store itself, and is lost with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IdentityRecord {
    pub(super) id: StoreId,
    /// The run of the server that last served it. A server that was started anew may have come back
    /// without its last writes, or is another one that never had them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
}

impl IdentityRecord {
    /// What is to stand there, given what does. `server` is the run that serves the store now, where
    /// that is known; `fresh` becomes the identity of a store that has none or may have lost something.
    pub(super) fn after(old: Option<Self>, server: Option<String>, fresh: &StoreId) -> Self {
        match (old, server) {
            (Some(old), None) => old,
            (Some(Self { id, server: None }), server) => Self { id, server },
            (Some(old), server) if old.server == server => old,
            (_, server) => Self { id: fresh.clone(), server },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> StoreId {
        StoreId::new(text).unwrap()
    }

    fn record(id_text: &str, server: Option<&str>) -> IdentityRecord {
        IdentityRecord { id: id(id_text), server: server.map(str::to_owned) }
    }

    fn after(old: Option<IdentityRecord>, server: Option<&str>) -> IdentityRecord {
        IdentityRecord::after(old, server.map(str::to_owned), &id("fresh"))
    }

    #[test]
    fn a_store_without_an_identity_gets_one() {
        assert_eq!(after(None, Some("run-1")), record("fresh", Some("run-1")));
        assert_eq!(after(None, None), record("fresh", None));
    }

    #[test]
    fn another_run_of_the_server_makes_another_identity() {
        let old = record("old", Some("run-1"));
        assert_eq!(after(Some(old.clone()), Some("run-1")), old);
        assert_eq!(after(Some(old), Some("run-2")), record("fresh", Some("run-2")));
    }

    #[test]
    fn a_run_that_is_not_known_changes_nothing() {
        let old = record("old", Some("run-1"));
        assert_eq!(after(Some(old.clone()), None), old);
        assert_eq!(after(Some(record("old", None)), Some("run-1")), record("old", Some("run-1")));
    }

    #[test]
    fn identities_keep_to_the_rule() {
        for bad in ["", "a b", "a:b", "é", &"x".repeat(65)] {
            assert!(StoreId::new(bad).is_err(), "{bad}");
        }
    }
}
