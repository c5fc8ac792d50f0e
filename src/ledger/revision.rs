//! Revisions: each decision gets a number greater than all before it, and decisions about one
//! credential run one after the other, across replicas.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Ledger, ms, parse, print};
use crate::cursor::Cursor;
use crate::error::{Error, ErrorKind, StoreError};
use crate::id::{CredentialKey, Revision};
use crate::mutation::{Mutation, is_on};
use crate::state::{Decided, Write, transact};

/// What is known of a credential's revisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RevisionRecord {
    /// The greatest number given out.
    issued: u64,
    /// The revision that the management side holds; 0: not known here.
    current: u64,
    /// Whether the authority's own store was brought to `current`.
    local: bool,
    /// The decision that is being made; 0: none.
    open: u64,
    /// Until when it counts if its process dies.
    open_until_ms: u64,
}

/// The answer to a wish to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// Go on, with this number.
    Yes(Revision),
    /// Another decision about the same credential is being made.
    Busy,
    /// No number is left below 2^53.
    Exhausted,
}

/// How a revision stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Currency {
    /// No newer one is known.
    Current,
    /// A decision is being made that may replace it at any moment, or ended in doubt: its process
    /// died, or never learnt whether the management side recorded it.
    Busy,
    /// A newer one is current.
    Outdated,
}

/// Whether the authority's own store holds a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locality {
    /// It does.
    Held,
    /// It may lack it.
    Lacking,
    /// It may lack it, and a decision that may replace it is open: it is not to be brought up, nor
    /// passed on as if it were there.
    Undecided,
    /// A newer one is current.
    Outdated,
}

impl RevisionRecord {
    /// A number greater than the clock, than everything issued, than everything seen (`cursor`) and
    /// not smaller than `floor`.
    fn open(
        &mut self,
        cursor: Option<&Cursor>,
        floor: u64,
        now_ms: u64,
        lease: Duration,
    ) -> Opened {
        if self.is_open(now_ms, lease) {
            return Opened::Busy;
        }
        let seen = cursor.map_or(Some(0), |cursor| cursor.ts.next_whole());
        // A damaged record may hold any number; beyond the range it means that none is left.
        let issued = self.issued.saturating_add(1);
        let number = seen.map(|seen| now_ms.max(issued).max(seen).max(floor));
        let number = if is_on(Mutation::RawClock) { Some(now_ms) } else { number };
        let Some(revision) = number.and_then(|number| Revision::new(number).ok()) else {
            return Opened::Exhausted;
        };
        self.issued = revision.get();
        self.open = revision.get();
        self.open_until_ms = now_ms.saturating_add(ms(lease));
        Opened::Yes(revision)
    }

    fn is_open(&self, now_ms: u64, lease: Duration) -> bool {
        // A remainder far longer than the lease means that the clock stepped back since: the holder
        // is not waited for. A little longer may only mean that another replica's clock is ahead.
        let left = self.open_until_ms.saturating_sub(now_ms);
        self.open != 0 && left > 0 && left <= 2 * ms(lease)
    }

    /// The management side holds `revision`, and so does the authority's own store.
    fn settle(&mut self, revision: Revision) {
        if self.current <= revision.get() {
            self.current = revision.get();
            self.local = true;
        }
        self.issued = self.issued.max(revision.get());
        self.close(revision);
    }

    fn close(&mut self, revision: Revision) {
        if self.open <= revision.get() {
            self.open = 0;
            self.open_until_ms = 0;
        }
    }

    /// The decision that ended in doubt, if one did.
    fn doubt(&self, now_ms: u64, lease: Duration) -> Option<u64> {
        (self.open != 0 && !self.is_open(now_ms, lease)).then_some(self.open)
    }

    /// Whether the management side holds the revision is not known. Nobody waits for its decision.
    fn suspend(&mut self, revision: Revision) {
        if self.open == revision.get() {
            self.open_until_ms = 0;
        }
    }

    /// How a revision stands.
    pub(super) fn currency(&self, revision: Revision) -> Currency {
        if self.current > revision.get() {
            Currency::Outdated
        } else if self.open > revision.get() {
            Currency::Busy
        } else {
            Currency::Current
        }
    }

    /// Whether the authority's own store holds this revision.
    fn locality(&self, revision: Revision) -> Locality {
        if self.local && self.current == revision.get() {
            return Locality::Held;
        }
        match self.currency(revision) {
            Currency::Current => Locality::Lacking,
            Currency::Busy => Locality::Undecided,
            Currency::Outdated => Locality::Outdated,
        }
    }
}

impl Ledger {
    /// Starts a decision. `floor` is the least acceptable number, for when the management side
    /// knows of more than these books.
    pub(crate) async fn open_revision(
        &self,
        key: &CredentialKey,
        floor: u64,
    ) -> Result<Opened, StoreError> {
        let (now_ms, lease) = (self.clock.now_ms(), self.timing.operation_lease);
        let keys = || vec![self.revision_key(key), self.cursor_key(key)];
        self.change(keys, |read| {
            let mut record: RevisionRecord = parse(read, 0).unwrap_or_default();
            let before = record;
            let cursor: Option<Cursor> = parse(read, 1);
            let opened = record.open(cursor.as_ref(), floor, now_ms, lease);
            (opened, self.revision_write(key, before, record))
        })
        .await
    }

    /// A decision is made: the management side and the authority's own store hold it.
    pub(crate) async fn settle_revision(
        &self,
        key: &CredentialKey,
        revision: Revision,
    ) -> Result<(), StoreError> {
        self.change_revision(key, |record| record.settle(revision)).await
    }

    /// Longest wait for a decision that another process is making: the longest remainder of a lease
    /// that counts, since the other's clock may be ahead.
    pub(crate) fn longest_wait(&self) -> Duration {
        2 * self.timing.operation_lease + Duration::from_secs(1)
    }

    /// A decision failed, and the management side may hold it all the same.
    pub(crate) async fn suspend_revision(
        &self,
        key: &CredentialKey,
        revision: Revision,
    ) -> Result<(), StoreError> {
        self.change_revision(key, |record| record.suspend(revision)).await
    }

    /// Which decision about each credential ended in doubt, if one did.
    pub(crate) async fn doubts(
        &self,
        keys: &[&CredentialKey],
    ) -> Result<Vec<Option<u64>>, StoreError> {
        let (now_ms, lease) = (self.clock.now_ms(), self.timing.operation_lease);
        let known = self.revisions(keys).await?;
        Ok(known.iter().map(|record| record.doubt(now_ms, lease)).collect())
    }

    /// The management side does not hold the decision that ended in doubt.
    pub(crate) async fn dismiss_doubt(
        &self,
        key: &CredentialKey,
        doubt: u64,
    ) -> Result<(), StoreError> {
        let (now_ms, lease) = (self.clock.now_ms(), self.timing.operation_lease);
        self.change_revision(key, |record| {
            if record.doubt(now_ms, lease) == Some(doubt) {
                (record.open, record.open_until_ms) = (0, 0);
            }
        })
        .await
    }

    /// A decision came to nothing.
    pub(crate) async fn abandon_revision(
        &self,
        key: &CredentialKey,
        revision: Revision,
    ) -> Result<(), StoreError> {
        self.change_revision(key, |record| record.close(revision)).await
    }

    /// What is known of each credential's revisions.
    async fn revisions(&self, keys: &[&CredentialKey]) -> Result<Vec<RevisionRecord>, StoreError> {
        let names: Vec<_> = keys.iter().map(|key| self.revision_key(key)).collect();
        let read = self.state.get(&names).await?;
        Ok((0..keys.len()).map(|index| parse(&read, index).unwrap_or_default()).collect())
    }

    /// How each revision stands.
    pub(crate) async fn currencies(
        &self,
        rows: &[(&CredentialKey, Revision)],
    ) -> Result<Vec<Currency>, StoreError> {
        let keys: Vec<_> = rows.iter().map(|(key, _)| *key).collect();
        let known = self.revisions(&keys).await?.into_iter();
        let pairs = known.zip(rows);
        Ok(pairs.map(|(known, (_, revision))| known.currency(*revision)).collect())
    }

    /// Whether the authority's own store holds each of these revisions.
    pub(crate) async fn localities(
        &self,
        rows: &[(&CredentialKey, Revision)],
    ) -> Result<Vec<Locality>, StoreError> {
        let keys: Vec<_> = rows.iter().map(|(key, _)| *key).collect();
        let known = self.revisions(&keys).await?.into_iter();
        Ok(known.zip(rows).map(|(known, (_, revision))| known.locality(*revision)).collect())
    }

    async fn change_revision(
        &self,
        key: &CredentialKey,
        change: impl Fn(&mut RevisionRecord) + Send + Sync,
    ) -> Result<(), StoreError> {
        self.change(
            || vec![self.revision_key(key)],
            |read| {
                let mut record: RevisionRecord = parse(read, 0).unwrap_or_default();
                let before = record;
                change(&mut record);
                ((), self.revision_write(key, before, record))
            },
        )
        .await
    }

    fn revision_write(
        &self,
        key: &CredentialKey,
        before: RevisionRecord,
        after: RevisionRecord,
    ) -> Vec<Write> {
        if before == after {
            return Vec::new();
        }
        vec![Write::set(self.revision_key(key), print(&after))]
    }

    /// One item through [`transact`].
    pub(super) async fn change<O: Send>(
        &self,
        keys: impl Fn() -> Vec<crate::state::Key> + Send + Sync,
        decide: impl Fn(&[Option<String>]) -> Decided<O> + Send + Sync,
    ) -> Result<O, StoreError> {
        transact(self.state(), &[()], |()| keys(), |(), read| decide(read))
            .await
            .pop()
            .unwrap_or_else(|| Err(StoreError::permanent("one item, one result")))
    }
}

impl Opened {
    pub(crate) fn exhausted() -> Error {
        Error::new(ErrorKind::Internal, "no revision below 2^53 is left for this credential")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Timestamp;
    use crate::id::EventId;

    const LEASE: Duration = Duration::from_millis(100);

    fn seen(ts: f64) -> Cursor {
        Cursor {
            ts: Timestamp::new(ts).unwrap(),
            event_id: EventId::new("e").unwrap(),
            source: None,
        }
    }

    fn revision(number: u64) -> Revision {
        Revision::new(number).unwrap()
    }

    #[test]
    fn a_number_exceeds_clock_issued_seen_and_floor() {
        let mut record = RevisionRecord::default();
        assert_eq!(record.open(None, 0, 50, LEASE), Opened::Yes(revision(50)));
        record.settle(revision(50));
        // The clock stepped back by an hour's worth.
        assert_eq!(record.open(None, 0, 10, LEASE), Opened::Yes(revision(51)));
        record.settle(revision(51));
        assert_eq!(record.open(Some(&seen(99.5)), 0, 10, LEASE), Opened::Yes(revision(100)));
        record.settle(revision(100));
        assert_eq!(record.open(None, 500, 10, LEASE), Opened::Yes(revision(500)));
    }

    #[test]
    fn one_decision_at_a_time_until_its_lease_ends() {
        let mut record = RevisionRecord::default();
        record.open(None, 0, 1_000, LEASE);
        assert_eq!(record.open(None, 0, 1_099, LEASE), Opened::Busy);
        assert_eq!(record.open(None, 0, 1_100, LEASE), Opened::Yes(revision(1_100)));
        // A clock that stepped back does not prolong the wait.
        assert_eq!(record.open(None, 0, 10, LEASE), Opened::Yes(revision(1_101)));
    }

    #[test]
    fn a_decision_that_ended_in_doubt_holds_up_what_came_before_and_no_other_decision() {
        let mut record = RevisionRecord::default();
        record.open(None, 0, 1_000, LEASE);
        record.settle(revision(1_000));
        record.open(None, 0, 2_000, LEASE);
        record.suspend(revision(2_000));
        assert_eq!(record.currency(revision(1_000)), Currency::Busy);
        assert_eq!(record.currency(revision(2_000)), Currency::Current);
        assert_eq!(record.doubt(2_001, LEASE), Some(2_000));
        let mut decided_again = record;
        assert_eq!(decided_again.open(None, 0, 2_001, LEASE), Opened::Yes(revision(2_001)));
        // As when its process died.
        let mut lapsed = record;
        lapsed.open(None, 0, 3_000, LEASE);
        assert_eq!(lapsed.currency(revision(1_000)), Currency::Busy);
        record.settle(revision(2_000));
        assert_eq!(record.currency(revision(1_000)), Currency::Outdated);
    }

    #[test]
    fn no_remainder_of_a_lease_that_counts_is_longer_than_the_longest_wait() {
        let state = std::sync::Arc::new(crate::state::MemoryState::new());
        let timing = crate::ledger::Timing { operation_lease: LEASE, ..Default::default() };
        let clock = std::sync::Arc::new(crate::clock::SystemClock);
        let ledger = Ledger::new(state, clock, "p".into(), timing);
        // By a replica whose clock is ahead.
        let mut record = RevisionRecord::default();
        record.open(None, 0, 1_000_000, LEASE);
        let until = 1_000_000 + ms(LEASE);
        let longest = (0..until).rev().take_while(|now| record.is_open(*now, LEASE)).count() as u64;
        assert!(longest >= ms(LEASE) && longest <= ms(ledger.longest_wait()), "{longest}");
    }

    #[test]
    fn the_own_store_is_not_taken_to_hold_what_an_open_decision_may_replace() {
        let mut record = RevisionRecord::default();
        record.open(None, 0, 1_000, LEASE);
        assert_eq!(record.locality(revision(1_000)), Locality::Lacking);
        // Recorded at the management side, but not settled here: the next decision is being made.
        record.suspend(revision(1_000));
        record.open(None, 0, 2_000, LEASE);
        assert_eq!(record.locality(revision(1_000)), Locality::Undecided);
        record.close(revision(2_000));
        assert_eq!(record.locality(revision(1_000)), Locality::Lacking);
        record.settle(revision(1_000));
        record.open(None, 0, 3_000, LEASE);
        assert_eq!(record.locality(revision(1_000)), Locality::Held);
        record.settle(revision(3_000));
        assert_eq!(record.locality(revision(1_000)), Locality::Outdated);
    }

    #[test]
    fn a_decision_that_came_to_nothing_leaves_the_one_before_current() {
        let mut record = RevisionRecord::default();
        record.open(None, 0, 1_000, LEASE);
        record.settle(revision(1_000));
        record.open(None, 0, 2_000, LEASE);
        record.close(revision(2_000));
        assert_eq!(record.currency(revision(1_000)), Currency::Current);
    }

    #[test]
    fn a_late_settle_neither_moves_back_nor_ends_a_newer_decision() {
        let mut record = RevisionRecord::default();
        record.open(None, 0, 1_000, LEASE);
        record.open(None, 0, 2_000, LEASE);
        record.settle(revision(1_000));
        assert_eq!(record.currency(revision(1_000)), Currency::Busy);
        record.settle(revision(2_000));
        record.settle(revision(1_000));
        assert_eq!(record.currency(revision(1_000)), Currency::Outdated);
        assert_eq!(record.locality(revision(2_000)), Locality::Held);
    }

    #[test]
    fn numbers_end_below_two_to_the_53() {
        let mut record = RevisionRecord::default();
        assert_eq!(record.open(Some(&seen(1e300)), 0, 1, LEASE), Opened::Exhausted);
        let mut damaged = RevisionRecord { issued: u64::MAX, ..RevisionRecord::default() };
        assert_eq!(damaged.open(None, 0, 1, LEASE), Opened::Exhausted);
        assert_eq!(record, RevisionRecord::default());
    }
}
