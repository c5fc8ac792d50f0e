//! Messages that were refused: what is kept of them, so that somebody can look at them later.
//!
//! The last [`RefusedMessages::KEPT`] stand in the peer's state store, each for 30 days; replicas
//! share them. They are written beside the work and not as a part of it: while the store is away, or
//! messages are refused faster than a few can be written per second, records are lost, and no message
//! waits for one.
//!
//! No secret gets into a record. Of a message, it holds the fields of the wire contract with what is
//! secret taken out. A value that cannot be told from a secret is not kept either, only its type and
//! length. A message that is not a JSON object may hold a secret anywhere: nothing of it is kept but
//! its length and its digest.

use std::fmt;

use crate::event::Refusal;
use crate::id::PeerQueue;

mod guard;
mod keeper;
mod record;
mod ring;
mod tree;
mod view;

pub(crate) use guard::Guard;
pub(crate) use keeper::{Refusals, Written};
pub use ring::RefusedMessages;

/// What is kept of a message that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedMessage {
    /// Counts up, from 1, over all replicas. Starts anew when the store was lost, or after 30 days
    /// without a refusal.
    pub number: u64,
    /// When it was refused, in milliseconds since the epoch, by the clock of the process that did.
    pub at_ms: u64,
    /// Why, as a word.
    pub reason: Refusal,
    /// Why, in words, as the event [`Event::Refused`](crate::event::Event::Refused) has them, at most
    /// 300 characters.
    pub detail: String,
    /// Who claims to have sent it. `None`: that could not be read, or might be a secret.
    pub sender: Option<PeerQueue>,
    /// The length of the message, in bytes.
    pub bytes: u64,
    /// The SHA-256 digest of the message, as 64 lowercase hex digits, to recognise it by. `None`: it
    /// was longer than the peer's limit for messages.
    pub sha256: Option<String>,
    /// The message as far as it may be shown: a JSON object, at most 4 KiB. What was taken out stands
    /// there as `{"redacted": "string of 64 characters"}`, fields that the wire contract does not have
    /// are only named. `None`: it is not a JSON object, or longer than 64 KiB.
    pub message: Option<String>,
}

/// A refused message, as it is when it is refused.
pub(crate) struct Refused<'a> {
    pub(crate) at_ms: u64,
    pub(crate) reason: Refusal,
    pub(crate) detail: &'a str,
    pub(crate) sender: Option<&'a PeerQueue>,
    pub(crate) body: &'a [u8],
    /// Longest message that is accepted, in bytes.
    pub(crate) limit: usize,
}

/// Bodies carry secrets: only their length is shown.
impl fmt::Debug for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("reason", &self.reason)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
