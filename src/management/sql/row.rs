//! A row of `hmac_credential_targets` and how marks change it: pure, so that a batch is worked out
//! in memory under the credential's lock and written in one statement.

use serde_json::{Value as Json, json};

use super::db::{Record, clamp};
use super::dialect::Column;
use super::failure::Failure;
use crate::management::{
    Answered, Outcome, Proof, RowStatus, TargetError, TargetSent, TargetSuccess,
};

/// Longest stored reason, in characters.
const REASON: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) revision: u64,
    pub(super) status: RowStatus,
    pub(super) event_id: Option<String>,
    pub(super) attempts: u64,
    pub(super) retry_at: Option<u64>,
    pub(super) sent_at: Option<u64>,
    pub(super) settled_at: Option<u64>,
    pub(super) proof: Option<&'static str>,
    pub(super) store_id: Option<String>,
    pub(super) last_error: Option<String>,
    pub(super) claimed_by: Option<String>,
    pub(super) claimed_until: Option<u64>,
}

/// The columns that [`Row::read`] needs.
pub(super) const READ: &str = "r.revision, r.status, r.event_id, r.attempts, r.retry_at, r.sent_at, \
     r.settled_at, r.proof, r.store_id, r.last_error, r.claimed_by, r.claimed_until";

/// What [`Row::written`] gives, after the three columns of the key.
pub(super) const WRITTEN: [(&str, Column); 11] = [
    ("status", Column::Name),
    ("is_open", Column::Int),
    ("event_id", Column::Name),
    ("attempts", Column::Int),
    ("retry_at", Column::Int),
    ("sent_at", Column::Int),
    ("settled_at", Column::Int),
    ("proof", Column::Name),
    ("store_id", Column::Name),
    ("last_error", Column::Text),
    ("claimed_until", Column::Int),
];

impl Row {
    pub(super) fn read(record: &Record) -> Result<Self, Failure> {
        Ok(Self {
            revision: record.count("revision")?,
            status: status(&record.text("status")?),
            event_id: record.text_or_null("event_id")?,
            attempts: record.count("attempts")?,
            retry_at: record.time_or_null("retry_at")?,
            sent_at: record.time_or_null("sent_at")?,
            settled_at: record.time_or_null("settled_at")?,
            proof: record.text_or_null("proof")?.and_then(|proof| proof_word(&proof)),
            store_id: record.text_or_null("store_id")?,
            last_error: record.text_or_null("last_error")?,
            claimed_by: record.text_or_null("claimed_by")?,
            claimed_until: record.time_or_null("claimed_until")?,
        })
    }

    pub(super) fn written(&self) -> [Json; 11] {
        [
            json!(self.status.as_str()),
            json!(u8::from(self.is_open())),
            json!(self.event_id),
            json!(self.attempts),
            json!(self.retry_at.map(clamp)),
            json!(self.sent_at.map(clamp)),
            json!(self.settled_at.map(clamp)),
            json!(self.proof),
            json!(self.store_id),
            json!(self.last_error),
            json!(self.claimed_until),
        ]
    }

    /// Whether a sync has something to do with it, now or later.
    pub(super) fn is_open(&self) -> bool {
        match self.status {
            RowStatus::Pending | RowStatus::Sent => true,
            RowStatus::Error => self.retry_at.is_some(),
            RowStatus::Success => false,
        }
    }

    pub(super) fn sent(&mut self, worker: &str, entry: &TargetSent) {
        // Settled: the answer was faster than this mark.
        if !self.is_open() || self.is_taken_from(worker) {
            return;
        }
        self.status = RowStatus::Sent;
        self.event_id = Some(entry.event_id.as_str().to_owned());
        self.attempts = entry.attempts.into();
        self.retry_at = Some(entry.retry_at_ms);
        self.sent_at = Some(entry.at_ms);
        self.settled_at = None;
        self.claimed_until = None;
    }

    pub(super) fn succeeded(&mut self, entry: &TargetSuccess) {
        // Also of a row that is settled: its target may hold it in another store by now.
        self.store_id = entry.store.as_ref().map(|store| store.as_str().to_owned());
        if self.status == RowStatus::Success {
            return;
        }
        self.status = RowStatus::Success;
        self.note_delivery(entry.answered.as_ref());
        self.proof = Some(match entry.proof {
            Proof::Signed => "signed",
            Proof::ReceiveOnly => "receive_only",
        });
        self.retry_at = None;
        self.last_error = None;
        self.settled_at = Some(entry.at_ms);
        self.claimed_until = None;
    }

    pub(super) fn failed(&mut self, worker: &str, entry: &TargetError) {
        // A failure for good comes from the target or from the row itself, whoever tells of it. One
        // that is tried again is a worker's own experience: it says nothing against an answer.
        let own_experience = entry.retry_at_ms.is_some();
        let overruled = own_experience && (!self.is_open() || self.is_taken_from(worker));
        if self.status == RowStatus::Success || overruled {
            return;
        }
        self.status = RowStatus::Error;
        self.note_delivery(entry.answered.as_ref());
        self.last_error = Some(clean(&entry.reason));
        self.retry_at = entry.retry_at_ms;
        self.settled_at = entry.retry_at_ms.is_none().then_some(entry.at_ms);
        self.claimed_until = None;
    }

    /// An answer that came before its event was recorded as sent brings with it what that record
    /// would have said.
    fn note_delivery(&mut self, answered: Option<&Answered>) {
        if let (None, Some(answered)) = (&self.event_id, answered) {
            self.event_id = Some(answered.event_id.as_str().to_owned());
            self.attempts = answered.attempts.into();
            self.sent_at = Some(answered.sent_at_ms);
        }
    }

    /// Whether another worker fetched it since: this one stalled for longer than its claim, and the
    /// other's word counts now.
    fn is_taken_from(&self, worker: &str) -> bool {
        self.claimed_by.as_deref().is_some_and(|holder| holder != worker)
    }
}

/// The tables' checks admit no other word.
pub(super) fn status(word: &str) -> RowStatus {
    match word {
        "pending" => RowStatus::Pending,
        "sent" => RowStatus::Sent,
        "success" => RowStatus::Success,
        _ => RowStatus::Error,
    }
}

/// The word of a report; the tables' checks admit no other.
pub(super) fn outcome(word: &str) -> Option<Outcome> {
    [Outcome::Success, Outcome::Partial, Outcome::Error]
        .into_iter()
        .find(|outcome| outcome.as_str() == word)
}

fn proof_word(word: &str) -> Option<&'static str> {
    ["signed", "receive_only"].into_iter().find(|known| *known == word)
}

/// PostgreSQL stores no NUL; nobody reads more than a few lines.
fn clean(reason: &str) -> String {
    reason.chars().take(REASON).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}
