//! How versions of one credential are ordered.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::{EventId, PeerQueue, Revision};

/// A `ts` as received: any finite JSON number, in milliseconds since the epoch. Kept as the double
/// that every peer sees, so that peers agree on the order even of odd values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timestamp(f64);

impl Timestamp {
    /// Reads a number.
    ///
    /// # Errors
    /// `InvalidOptions` when it is not finite.
    pub fn new(ms: f64) -> Result<Self> {
        if !ms.is_finite() {
            return Err(Error::invalid("ts", "a finite number of milliseconds"));
        }
        // Adding zero turns -0 into 0, so that equal timestamps also print alike.
        Ok(Self(ms + 0.0))
    }

    #[cfg(feature = "propagation")]
    pub(crate) fn zero() -> Self {
        Self(0.0)
    }

    /// The milliseconds.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.0
    }

    /// The smallest whole number above it that a revision can take; `None` beyond 2^53 - 1.
    #[cfg(feature = "propagation")]
    pub(crate) fn next_whole(self) -> Option<u64> {
        let next = self.0.floor() + 1.0;
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        (next <= Revision::MAX as f64).then(|| next.max(0.0) as u64)
    }
}

impl From<Revision> for Timestamp {
    fn from(revision: Revision) -> Self {
        // Exact: a revision stays below 2^53.
        #[allow(clippy::cast_precision_loss)]
        Self(revision.get() as f64)
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Prints as JavaScript does.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ryu_js::Buffer::new().format_finite(self.0))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
        if self.0.fract() == 0.0 && self.0.abs() <= Revision::MAX as f64 {
            return serializer.serialize_i64(self.0 as i64);
        }
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer)
            .and_then(|ms| Self::new(ms).map_err(serde::de::Error::custom))
    }
}

/// The newest version of a credential that a peer holds: the event that brought it. Ordered by
/// `ts`, then by `eventId` byte by byte (wire contract, step 4).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cursor {
    /// When the source decided.
    pub ts: Timestamp,
    /// The event.
    pub event_id: EventId,
    /// Who decided, where it is known: cursors that other implementations wrote do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PeerQueue>,
}

impl PartialEq for Cursor {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Cursor {}

impl PartialOrd for Cursor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cursor {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ts.cmp(&other.ts).then_with(|| self.event_id.cmp(&other.event_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(ts: f64, id: &str) -> Cursor {
        Cursor {
            ts: Timestamp::new(ts).unwrap(),
            event_id: EventId::new(id).unwrap(),
            source: None,
        }
    }

    #[test]
    fn time_decides_and_the_id_breaks_ties() {
        assert!(cursor(2.0, "a") > cursor(1.0, "z"));
        assert!(cursor(1.0, "b") > cursor(1.0, "a"));
        assert!(cursor(1.5, "a") > cursor(1.0, "b"));
        assert_eq!(cursor(-0.0, "a"), cursor(0.0, "a"));
    }

    #[test]
    fn a_cursor_is_stored_as_other_peers_read_it() {
        let text = serde_json::to_string(&cursor(1_700_000_000_000.0, "e")).unwrap();
        assert_eq!(text, r#"{"ts":1700000000000,"eventId":"e"}"#);
        let read: Cursor = serde_json::from_str(r#"{"ts":1e3,"eventId":"e","more":1}"#).unwrap();
        assert_eq!(read, cursor(1000.0, "e"));
    }

    #[cfg(feature = "propagation")]
    #[test]
    fn the_next_whole_number_is_greater_and_bounded() {
        assert_eq!(Timestamp::new(1.0).unwrap().next_whole(), Some(2));
        assert_eq!(Timestamp::new(1.5).unwrap().next_whole(), Some(2));
        assert_eq!(Timestamp::new(-7.0).unwrap().next_whole(), Some(0));
        assert_eq!(Timestamp::new(1e300).unwrap().next_whole(), None);
    }
}
