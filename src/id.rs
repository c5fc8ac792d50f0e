//! Names and numbers that identify things: peers, clients, tracks, revisions, events.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

#[cfg(feature = "propagation")]
use crate::entropy::Entropy;
use crate::error::{Error, Result};

/// The name of a peer on the mesh (`amqpQueue` of the wire contract): ASCII letters, digits and `-`,
/// at most 200 of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerQueue(String);

impl PeerQueue {
    /// Longest accepted name. The broker's limit for a queue name is 255 bytes.
    pub const MAX_LEN: usize = 200;

    /// Checks and takes over a name.
    ///
    /// # Errors
    /// `InvalidOptions` when it breaks the naming rule.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let well_formed = !name.is_empty()
            && name.len() <= Self::MAX_LEN
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !well_formed {
            return Err(Error::invalid("queue name", "1 to 200 ASCII letters, digits or hyphens"));
        }
        Ok(Self(name))
    }

    /// The name as it stands in messages.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PeerQueue {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

impl TryFrom<String> for PeerQueue {
    type Error = Error;
    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl From<PeerQueue> for String {
    fn from(queue: PeerQueue) -> Self {
        queue.0
    }
}

/// Whose credential it is: 1 to 256 bytes, not blank, no control characters. Kept as given; a
/// verifier compares it with the trimmed header. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// Longest accepted id, in bytes.
    pub const MAX_LEN: usize = 256;

    /// Checks and takes over an id.
    ///
    /// # Errors
    /// `InvalidOptions` when it is blank, too long or has a control character.
    pub fn new(id: impl Into<String>) -> Result<Self> {
        id.into().parse()
    }

    /// The id as it stands in messages and stores.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub(crate) fn text(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ClientId {
    type Err = Error;
    fn from_str(id: &str) -> Result<Self> {
        if id.trim().is_empty() || id.len() > Self::MAX_LEN || id.chars().any(char::is_control) {
            return Err(Error::invalid(
                "clientId",
                "1 to 256 bytes, not blank, without control characters",
            ));
        }
        Ok(Self(id.into()))
    }
}

impl TryFrom<String> for ClientId {
    type Error = Error;
    fn try_from(id: String) -> Result<Self> {
        id.parse()
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0.as_ref().to_owned()
    }
}

/// Who asks for a decision, for the audit: a person, a job, a service. 1 to 256 bytes, not blank, no
/// control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Actor(String);

impl Actor {
    /// Longest accepted name, in bytes.
    pub const MAX_LEN: usize = 256;

    /// Checks and takes over a name.
    ///
    /// # Errors
    /// `InvalidOptions` when it is blank, too long or has a control character.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        if name.trim().is_empty()
            || name.len() > Self::MAX_LEN
            || name.chars().any(char::is_control)
        {
            return Err(Error::invalid(
                "actor",
                "1 to 256 bytes, not blank, without control characters",
            ));
        }
        Ok(Self(name))
    }

    /// The name as it stands in the audit.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which credential store: signed HTTP requests or signed messages. Exhaustive, because the wire
/// contract is frozen with these two.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Track {
    /// Signed HTTP requests.
    #[default]
    Http,
    /// Signed messages.
    Message,
}

impl Track {
    /// Both tracks.
    pub const ALL: [Self; 2] = [Self::Http, Self::Message];

    /// `http` or `message`, as on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Message => "message",
        }
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Track {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "http" => Ok(Self::Http),
            "message" => Ok(Self::Message),
            _ => Err(Error::invalid("track", "`http` or `message`")),
        }
    }
}

/// One credential: a client on a track. The same client id on the other track is another credential.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialKey {
    /// The track.
    pub track: Track,
    /// The client.
    pub client_id: ClientId,
}

impl CredentialKey {
    /// Names a credential.
    #[must_use]
    pub fn new(track: Track, client_id: ClientId) -> Self {
        Self { track, client_id }
    }
}

impl fmt::Display for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.track, self.client_id)
    }
}

/// One decision about one credential: every ensure, rotate and revoke makes a new one, greater than
/// all before it. It is also the `ts` of the events that carry the decision, so it reads as
/// milliseconds since the epoch, but it is a version and not a clock reading: it moves past the
/// clock when the clock steps back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// Greatest value: 2^53 - 1, the last whole number that every peer's JSON carries exactly.
    pub const MAX: u64 = (1 << 53) - 1;

    /// Reads a revision from its number.
    ///
    /// # Errors
    /// `InvalidOptions` above [`Revision::MAX`].
    pub fn new(number: u64) -> Result<Self> {
        if number > Self::MAX {
            return Err(Error::invalid("revision", "a number up to 2^53 - 1"));
        }
        Ok(Self(number))
    }

    /// The number: what a database column holds and what the wire carries as `ts`.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of one event: a UUID v4 when made here, any non-empty text of at most 128 bytes without
/// control characters when received.
///
/// Ids order byte by byte. Whoever guesses the id of an apply event can forge its ack where acks
/// are unsigned, so 90 bits of each are random.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventId(String);

impl EventId {
    /// Longest accepted id, in bytes.
    pub const MAX_LEN: usize = 128;

    /// Reads an id as received or stored.
    ///
    /// # Errors
    /// `InvalidOptions` when it is empty, too long or has a control character.
    pub fn new(id: impl Into<String>) -> Result<Self> {
        let id = id.into();
        if id.is_empty() || id.len() > Self::MAX_LEN || id.chars().any(char::is_control) {
            return Err(Error::invalid("eventId", "1 to 128 bytes without control characters"));
        }
        Ok(Self(id))
    }

    /// The id as it stands in messages.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Making ids.
#[cfg(feature = "propagation")]
impl EventId {
    /// A fresh random id.
    pub(crate) fn random(entropy: &dyn Entropy) -> Self {
        Self::from_bytes(entropy.bytes16())
    }

    /// A fresh id whose first four bytes are given. All events of one revision share them, so that
    /// two sources that picked the same `ts` are ordered alike at every peer.
    pub(crate) fn with_prefix(prefix: [u8; 4], entropy: &dyn Entropy) -> Self {
        let mut bytes = entropy.bytes16();
        bytes[..4].copy_from_slice(&prefix);
        Self::from_bytes(bytes)
    }

    /// Whether its first four bytes are these.
    pub(crate) fn has_prefix(&self, prefix: [u8; 4]) -> bool {
        let first = u32::from_be_bytes(prefix);
        self.0.get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()) == Some(first)
    }

    /// RFC 9562, section 5.4: version and variant bits over random ones.
    pub(crate) fn from_bytes(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let mut text = String::with_capacity(36);
        for (index, byte) in bytes.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            for nibble in [byte >> 4, byte & 0x0f] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        Self(text)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for EventId {
    type Error = Error;
    fn try_from(id: String) -> Result<Self> {
        Self::new(id)
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "propagation")]
    use crate::entropy::OsEntropy;

    #[test]
    fn queue_names_keep_to_the_rule() {
        for good in ["a", "orders-1", "A9-", &"q".repeat(200)] {
            assert!(PeerQueue::new(good).is_ok(), "{good}");
        }
        for bad in ["", "../x", "a b", "a.b", "é", "a\n", &"q".repeat(201)] {
            assert!(PeerQueue::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn client_ids_may_be_odd_but_not_dangerous() {
        for good in ["a", "a:b", "__proto__", "é", " a "] {
            assert!(ClientId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "  ", "a\nb", "a\0", &"x".repeat(10_240)] {
            assert!(ClientId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[cfg(feature = "propagation")]
    #[test]
    fn event_ids_are_version_4_uuids_and_keep_their_prefix() {
        let id = EventId::with_prefix([0xde, 0xad, 0xbe, 0xef], &OsEntropy);
        let text = id.as_str();
        assert_eq!(text.len(), 36);
        assert!(text.starts_with("deadbeef-"));
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        assert_ne!(EventId::random(&OsEntropy), EventId::random(&OsEntropy));
    }
}
