//! Events in flight: claimed before they are published, known until they are answered.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::holders::current_store;
use super::revision::{Currency, RevisionRecord};
use super::{Ledger, ms, parse, print};
use crate::error::StoreError;
use crate::id::{CredentialKey, EventId, PeerQueue, Revision};
use crate::management::{Proof, RowStatus};
use crate::mutation::{Mutation, is_on};
use crate::state::{Decided, Write, transact};
use crate::store::StoreId;

/// How long records live that nobody touches. Longer than any target is expected to stay away;
/// every sync that still finds the row open writes them anew.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// How long an answered event stays known, so that a second answer is told from a forged one.
const KEPT_ANSWERED: Duration = Duration::from_secs(24 * 3600);

/// What a target answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "result")]
pub(crate) enum Answer {
    /// It holds the revision: in this store, as far as it says.
    Applied {
        signed: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        store: Option<StoreId>,
    },
    /// It does not, and will not by itself.
    Failed { reason: String },
}

impl Answer {
    pub(crate) fn proof(signed: bool) -> Proof {
        if signed { Proof::Signed } else { Proof::ReceiveOnly }
    }
}

/// The delivery of the current revision to one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FlightRecord {
    event_id: EventId,
    revision: Revision,
    /// How often it was published.
    attempts: u32,
    /// When to try again without an answer.
    due_at_ms: u64,
    /// Whether a copy may stand in the target's queue.
    placed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
}

/// What an event id stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InFlight {
    pub(crate) key: CredentialKey,
    pub(crate) target: PeerQueue,
    pub(crate) revision: Revision,
    /// The target cannot sign its answer.
    pub(crate) receive_only: bool,
    /// The revision is a removal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) removed: bool,
    /// The target had answered for it, and is asked again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) again: bool,
    /// Its last try. `None`: not claimed yet, or claimed by a release that did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tried: Option<Tried>,
}

/// A try to deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tried {
    /// Which one, from 1.
    pub(crate) attempts: u32,
    /// When, in milliseconds since the epoch.
    pub(crate) at_ms: u64,
}

/// A row that a sync found open.
#[derive(Clone, Debug)]
pub(crate) struct ClaimRequest {
    pub(crate) flight: InFlight,
    pub(crate) status: RowStatus,
    pub(crate) attempts: u32,
    /// The event that the management side remembers for it.
    pub(crate) known_event: Option<EventId>,
    /// The id to use if there is none yet.
    pub(crate) fresh_event: EventId,
}

impl ClaimRequest {
    /// The row was settled, and was then opened again.
    fn is_reopened(&self) -> bool {
        self.status == RowStatus::Pending && self.known_event.is_some()
    }
}

/// What to do about an open row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Publish it: this process has it now, no other will until it is due again.
    Publish(Ticket),
    /// As `Publish`, unless a copy still waits in the target's queue.
    PublishUnlessQueued(Ticket),
    /// It was answered, but the management side does not know.
    Answered { event_id: EventId, answer: Answer },
    /// It was published and its answer may still come.
    NotDue,
    /// A decision is being made that may replace the revision.
    Busy,
    /// A newer revision is current.
    Outdated,
}

/// The right to publish one event once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) event_id: EventId,
    /// How often it was published, this time included.
    pub(crate) attempts: u32,
    /// When it is due again.
    pub(crate) retry_at_ms: u64,
}

impl Ledger {
    /// Claims open rows for publishing. The record of each claimed event exists when this returns,
    /// before anything is published, so that no answer can come too early.
    pub(crate) async fn claim(&self, rows: &[ClaimRequest]) -> Vec<Result<Claim, StoreError>> {
        let now_ms = self.clock.now_ms();
        let keys = |row: &ClaimRequest| {
            let InFlight { key, target, .. } = &row.flight;
            let holder = self.holder_key(key.track, target);
            vec![self.flight_key(key, target), self.revision_key(key), holder]
        };
        transact(self.state(), rows, keys, |row, read| self.decide_claim(row, read, now_ms)).await
    }

    fn decide_claim(
        &self,
        row: &ClaimRequest,
        read: &[Option<String>],
        now_ms: u64,
    ) -> Decided<Claim> {
        let InFlight { key, target, revision, .. } = &row.flight;
        let known: RevisionRecord = parse(read, 1).unwrap_or_default();
        match known.currency(*revision) {
            Currency::Current => {}
            Currency::Busy => return (Claim::Busy, Vec::new()),
            Currency::Outdated => return (Claim::Outdated, Vec::new()),
        }
        let old: Option<FlightRecord> = parse(read, 0);
        if old.as_ref().is_some_and(|old| old.revision > *revision) {
            return (Claim::Outdated, Vec::new());
        }
        let old = old.filter(|old| old.revision == *revision);
        let store = current_store(read, 2);
        if let Some((event_id, answer)) =
            old.as_ref().and_then(|old| standing_answer(old, row, store))
        {
            return (Claim::Answered { event_id, answer }, Vec::new());
        }
        if old.as_ref().is_some_and(|old| !self.is_due(old, now_ms)) {
            return (Claim::NotDue, Vec::new());
        }
        let (record, may_be_queued) = self.next_flight(row, old, now_ms);
        let ticket = Ticket {
            event_id: record.event_id.clone(),
            attempts: record.attempts,
            retry_at_ms: record.due_at_ms,
        };
        let tried = Some(Tried { attempts: record.attempts, at_ms: now_ms });
        let again = row.is_reopened();
        let flight = InFlight { tried, again, ..row.flight.clone() };
        let mut writes = vec![
            Write::set_for(self.flight_key(key, target), print(&record), KEPT),
            Write::set_for(self.event_key(&record.event_id), print(&flight), KEPT),
        ];
        if is_on(Mutation::RecordedLate) {
            writes.truncate(1);
        }
        let claim = if may_be_queued { Claim::PublishUnlessQueued } else { Claim::Publish };
        (claim(ticket), writes)
    }

    /// The record of the next try, and whether a copy of an earlier one may still be queued.
    fn next_flight(
        &self,
        row: &ClaimRequest,
        old: Option<FlightRecord>,
        now_ms: u64,
    ) -> (FlightRecord, bool) {
        let (event_id, attempts, placed) = match old {
            Some(old) if is_on(Mutation::EventIdAnew) => {
                (row.fresh_event.clone(), old.attempts, false)
            }
            Some(old) => {
                // A row that is still pending was never confirmed: to wait for a copy that may not
                // exist would starve it behind a backlog. The price is one copy too many at most.
                let placed = old.placed && old.answer.is_none() && row.status != RowStatus::Pending;
                (old.event_id, old.attempts, placed)
            }
            // The books were lost: what the management side remembers goes on under the same id.
            None => {
                let sent = row.status == RowStatus::Sent && row.known_event.is_some();
                let event_id = row.known_event.as_ref().unwrap_or(&row.fresh_event);
                (event_id.clone(), row.attempts, sent)
            }
        };
        let wait = self.timing.answer.ceiling(attempts);
        let record = FlightRecord {
            event_id,
            revision: row.flight.revision,
            attempts: attempts.saturating_add(1),
            due_at_ms: now_ms.saturating_add(ms(wait)),
            placed: true,
            answer: None,
        };
        (record, placed)
    }

    fn is_due(&self, record: &FlightRecord, now_ms: u64) -> bool {
        // A wait far longer than the longest means that the clock stepped back since; a little
        // longer may only mean that another replica's clock is ahead.
        let left = record.due_at_ms.saturating_sub(now_ms);
        record.answer.is_some() || left == 0 || left > 2 * ms(self.timing.answer.most)
    }

    /// Publishing failed. `placed`: a copy may have arrived all the same. It is due at once; when
    /// to try again is between the caller and the management side.
    pub(crate) async fn release(
        &self,
        flight: &InFlight,
        event_id: &EventId,
        placed: bool,
    ) -> Result<(), StoreError> {
        let flight_key = self.flight_key(&flight.key, &flight.target);
        self.change(
            || vec![flight_key.clone()],
            |read| {
                let record = parse::<FlightRecord>(read, 0)
                    .filter(|record| record.event_id == *event_id && record.answer.is_none());
                let writes = record.map(|record| {
                    let attempts = record.attempts.saturating_sub(u32::from(!placed));
                    let record = FlightRecord { due_at_ms: 0, placed, attempts, ..record };
                    Write::set_for(flight_key.clone(), print(&record), KEPT)
                });
                ((), writes.into_iter().collect())
            },
        )
        .await
    }

    /// What [`Mutation::RecordedLate`] does too late.
    #[cfg(feature = "simulation")]
    pub(crate) async fn record_late(&self, flight: &InFlight, event_id: &EventId) {
        let write = Write::set_for(self.event_key(event_id), print(flight), KEPT);
        let _ = self.state.commit(&[crate::state::Transaction::default().write(write)]).await;
    }

    /// What each event id stands for; `None`: unknown.
    pub(crate) async fn flights(
        &self,
        event_ids: &[&EventId],
    ) -> Result<Vec<Option<InFlight>>, StoreError> {
        let names: Vec<_> = event_ids.iter().map(|id| self.event_key(id)).collect();
        let read = self.state.get(&names).await?;
        Ok((0..event_ids.len()).map(|index| parse(&read, index)).collect())
    }

    /// Writes answers down. Of several answers to one event a success counts more than an error.
    ///
    /// The management side knows them by now. Should a target have got another store since its answer was
    /// judged, the rows may have been opened again before they were marked: it is asked once more.
    pub(crate) async fn record_answers(
        &self,
        answers: &[(InFlight, EventId, Answer)],
    ) -> Vec<Result<(), StoreError>> {
        let keys = |(flight, _, _): &(InFlight, EventId, Answer)| {
            let InFlight { key, target, .. } = flight;
            vec![self.flight_key(key, target), self.holder_key(key.track, target)]
        };
        let recorded = transact(self.state(), answers, keys, |(flight, event_id, answer), read| {
            let overtaken = lost_store(answer, current_store(read, 1));
            let record = parse::<FlightRecord>(read, 0).filter(|r| r.event_id == *event_id);
            let Some(record) = record.filter(|r| counts_more(answer, r.answer.as_ref())) else {
                return (overtaken, Vec::new());
            };
            let record = FlightRecord { answer: Some(answer.clone()), ..record };
            let flight_key = self.flight_key(&flight.key, &flight.target);
            let event_key = self.event_key(event_id);
            let writes = vec![
                Write::set_for(flight_key, print(&record), KEPT_ANSWERED),
                Write::set_for(event_key, print(flight), KEPT_ANSWERED),
            ];
            (overtaken, writes)
        })
        .await;
        let mut results = Vec::with_capacity(recorded.len());
        for ((flight, ..), overtaken) in answers.iter().zip(recorded) {
            results.push(match overtaken {
                Ok(None) => Ok(()),
                Ok(Some(now)) => self.want(flight.key.track, &flight.target, Some(now)).await,
                Err(error) => Err(error),
            });
        }
        results
    }
}

/// The store that a target has by now, where its answer came out of another one.
fn lost_store(answer: &Answer, current: Option<StoreId>) -> Option<StoreId> {
    match answer {
        Answer::Applied { store: Some(store), .. } => current.filter(|now| now != store),
        Answer::Applied { store: None, .. } | Answer::Failed { .. } => None,
    }
}

/// An answer that the management side has yet to learn. A failure that it knows of (the row is an
/// error, or was set back to pending by an operator) is no answer to the next try; nor is a success
/// out of a store that the target has lost since, or one that the management side knew before it
/// opened the row again (the row still names the event).
fn standing_answer(
    record: &FlightRecord,
    row: &ClaimRequest,
    current: Option<StoreId>,
) -> Option<(EventId, Answer)> {
    let answer = record.answer.clone()?;
    let reopened = row.is_reopened() && row.known_event.as_ref() == Some(&record.event_id);
    match &answer {
        Answer::Failed { .. } if matches!(row.status, RowStatus::Pending | RowStatus::Error) => {
            None
        }
        Answer::Applied { .. } if reopened => None,
        _ if lost_store(&answer, current).is_some() => None,
        _ => Some((record.event_id.clone(), answer)),
    }
}

fn counts_more(new: &Answer, old: Option<&Answer>) -> bool {
    match old {
        None => true,
        Some(Answer::Applied { .. }) => false,
        Some(Answer::Failed { .. }) => matches!(new, Answer::Applied { .. }),
    }
}
