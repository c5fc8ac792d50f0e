//! Deliberate defects. The simulation switches one on to prove that it would notice it; in a build
//! without the feature `simulation` none can be switched on and the checks come to nothing.

#[cfg(feature = "simulation")]
use std::cell::Cell;

/// A deliberate defect: the opposite of one thing that the pipelines promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "simulation"),
    allow(dead_code, unreachable_pub, reason = "used in full, and public, with the feature")
)]
#[non_exhaustive]
pub enum Mutation {
    /// What an answer is looked up by is written only after the event was published.
    RecordedLate,
    /// A row that is sent again gets a new event id.
    EventIdAnew,
    /// Records are written although what was read has changed meanwhile.
    CommitUnconditional,
    /// An answer to an older revision counts for the newer one.
    RevisionIgnored,
    /// The clock alone gives a decision its number.
    RawClock,
    /// A decision changes the own store without moving its cursor.
    CursorStays,
    /// A sync does not finish what a crash left undone in the own store.
    OwnStoreSkipped,
    /// A revision is reported, and its plain secret cleared, while rows are open.
    PlainClearedEarly,
    /// "Holds something newer" counts as success.
    HeldIgnored,
    /// An event that the store did not take is answered as applied.
    AppliedUnapplied,
    /// An answer that the management side did not take is let go of.
    AnswerDropped,
    /// Nothing follows from another store at a target.
    LostStoreIgnored,
    /// An answer out of a store that its target has lost since counts.
    PastStoreBelieved,
}

#[cfg(feature = "simulation")]
impl Mutation {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::RecordedLate,
        Self::EventIdAnew,
        Self::CommitUnconditional,
        Self::RevisionIgnored,
        Self::RawClock,
        Self::CursorStays,
        Self::OwnStoreSkipped,
        Self::PlainClearedEarly,
        Self::HeldIgnored,
        Self::AppliedUnapplied,
        Self::AnswerDropped,
        Self::LostStoreIgnored,
        Self::PastStoreBelieved,
    ];
}

#[cfg(feature = "simulation")]
thread_local! {
    static ON: Cell<Option<Mutation>> = const { Cell::new(None) };
}

/// Whether this defect is switched on, in this thread.
#[cfg(feature = "simulation")]
pub(crate) fn is_on(mutation: Mutation) -> bool {
    ON.get() == Some(mutation)
}

/// Never.
#[cfg(not(feature = "simulation"))]
pub(crate) const fn is_on(_: Mutation) -> bool {
    false
}

/// Whether [`Mutation::CursorStays`] concerns a write under this namespace: a version of the peer
/// that the store belongs to. The simulation names its stores after their peers.
pub(crate) fn cursor_stays(namespace: &str, source: Option<&str>) -> bool {
    is_on(Mutation::CursorStays) && namespace.split(':').next() == source
}

/// Switches one on, or all off, in this thread.
#[cfg(feature = "simulation")]
pub(crate) fn switch(mutation: Option<Mutation>) {
    ON.set(mutation);
}
