//! A record as it stands in the state store.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::guard::Guard;
use super::view::view;
use super::{Refused, RefusedMessage};
use crate::event::Refusal;
use crate::hex;
use crate::id::PeerQueue;

/// Most characters of a detail.
const MOST_DETAIL: usize = 300;

/// Stands for a detail that has something in it that must not be shown.
const WITHHELD: &str = "(withheld: it may hold a secret)";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// Given when it is written.
    #[serde(default)]
    number: u64,
    at_ms: u64,
    reason: String,
    detail: String,
    sender: Option<PeerQueue>,
    bytes: u64,
    sha256: Option<String>,
    message: Option<Value>,
}

impl Record {
    /// What may be kept of a message. `guard` knows the secrets that might be in it.
    pub(super) fn of(refused: &Refused<'_>, mut guard: Guard) -> Self {
        let Refused { at_ms, reason, detail, sender, body, limit } = *refused;
        let within = body.len() <= limit;
        // What is longer was not read either: the limit bounds what a message costs.
        let message = if within { view(body, &mut guard) } else { None };
        let detail = if guard.passes(detail) { detail } else { WITHHELD };
        Self {
            number: 0,
            at_ms,
            reason: reason.as_str().to_owned(),
            detail: detail.chars().take(MOST_DETAIL).collect(),
            sender: sender.filter(|sender| guard.passes(sender.as_str())).cloned(),
            bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
            sha256: within.then(|| digest(body)),
            message,
        }
    }

    pub(super) fn numbered(self, number: u64) -> Self {
        Self { number, ..self }
    }

    pub(super) fn print(&self) -> String {
        // Strings, numbers and options only: serialising into memory has no way to fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a record. `None`: it is none, or of a later version whose words are not known here.
    pub(super) fn parse(text: &str) -> Option<RefusedMessage> {
        let record: Self = serde_json::from_str(text).ok()?;
        let reason = Refusal::ALL.into_iter().find(|reason| reason.as_str() == record.reason)?;
        Some(RefusedMessage {
            number: record.number,
            at_ms: record.at_ms,
            reason,
            detail: record.detail,
            sender: record.sender,
            bytes: record.bytes,
            sha256: record.sha256,
            message: record.message.map(|message| message.to_string()),
        })
    }
}

fn digest(body: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    hex::push(&mut text, &Sha256::digest(body));
    text
}

#[cfg(test)]
mod tests;
