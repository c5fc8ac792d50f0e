//! Brings answers and failures to the management side, and reports revisions that are complete.

use futures_util::future::{BoxFuture, join_all};

use crate::core::Core;
use crate::error::StoreError;
use crate::event::Event;
use crate::id::{CredentialKey, EventId, Revision};
use crate::ledger::{Answer, Currency, InFlight, Tried};
use crate::management::{
    Answered, FullyPropagated, Management, ManagementError, Marked, Outcome, RowKey, TargetError,
    TargetSuccess,
};
use crate::mutation::{Mutation, is_on};

/// A revision and what it decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided {
    pub(crate) revision: Revision,
    pub(crate) removed: bool,
}

/// A delivery that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) error: TargetError,
    /// Whether a removal was to be delivered.
    pub(crate) removed: bool,
}

/// An answer that is to be settled.
#[derive(Clone, Debug)]
pub(crate) struct Settlement {
    pub(crate) flight: InFlight,
    pub(crate) event_id: EventId,
    pub(crate) answer: Answer,
}

impl Settlement {
    fn answered(&self) -> Option<Answered> {
        let Tried { attempts, at_ms: sent_at_ms } = self.flight.tried?;
        Some(Answered { event_id: self.event_id.clone(), attempts, sent_at_ms })
    }
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concluded {
    /// The management side knows it.
    Recorded,
    /// It is about a revision that is not current any more: nothing follows from it.
    Outdated,
}

/// Why an answer is not settled.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Unsettled {
    #[error("the management side failed: {0}")]
    Management(ManagementError),
    #[error("the state store failed: {0}")]
    State(StoreError),
    #[error("a decision about its credential is being made, or ended in doubt")]
    Busy,
}

impl Unsettled {
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Management(error) => error.is_transient(),
            Self::State(error) => error.is_transient(),
            Self::Busy => true,
        }
    }
}

/// Records answers at the management side, reports what they complete, and closes the books on
/// them. One result per answer. Each step may be repeated after a crash between any two.
pub(crate) async fn settle(
    core: &Core,
    management: &dyn Management,
    answers: &[Settlement],
) -> Vec<Result<Concluded, Unsettled>> {
    // The gate before the locks: whoever records "sent" needs the same locks to get through it.
    for answer in answers {
        core.gate.answered(&answer.event_id).await;
    }
    // The locks before the look at the revisions: a decision that comes later waits, one that came
    // earlier is seen. A decision that is being made, and may hang, holds up its own answers only.
    let keys = answers.iter().map(|answer| &answer.flight.key);
    let (_guards, held) = core.locks.try_settle(keys);
    let rows: Vec<_> = answers.iter().map(|a| (&a.flight.key, a.flight.revision)).collect();
    let mut results: Vec<_> = match core.ledger.currencies(&rows).await {
        Ok(currencies) => currencies
            .into_iter()
            .zip(held)
            .map(|(currency, held)| judged(if held { currency } else { Currency::Busy }))
            .collect(),
        Err(error) => answers.iter().map(|_| Err(Unsettled::State(error.clone()))).collect(),
    };
    let current: Vec<usize> =
        (0..answers.len()).filter(|&i| matches!(results[i], Ok(Concluded::Recorded))).collect();
    let answers: Vec<Settlement> = current.iter().map(|&index| answers[index].clone()).collect();
    for (index, settled) in
        current.into_iter().zip(settle_current(core, management, &answers).await)
    {
        results[index] = settled.map(|()| Concluded::Recorded);
    }
    results
}

fn judged(currency: Currency) -> Result<Concluded, Unsettled> {
    match currency {
        Currency::Current => Ok(Concluded::Recorded),
        Currency::Outdated if is_on(Mutation::RevisionIgnored) => Ok(Concluded::Recorded),
        Currency::Outdated => Ok(Concluded::Outdated),
        Currency::Busy => Err(Unsettled::Busy),
    }
}

/// The caller holds the locks.
async fn settle_current(
    core: &Core,
    management: &dyn Management,
    answers: &[Settlement],
) -> Vec<Result<(), Unsettled>> {
    let marked = mark(core, management, answers).await;
    // At once, so that a management side can record reports together.
    let followed = answers.iter().zip(marked).map(|(settlement, marked)| async move {
        let complete = follow_up(core, management, &settlement.flight, marked?).await?;
        // The answer before what it completed: that is how it is read.
        announce(core, settlement);
        if let Some(event) = complete {
            core.hub.emit(event);
        }
        Ok::<_, ManagementError>(())
    });
    let followed = join_all(followed).await;
    let mut results: Vec<_> =
        followed.into_iter().map(|done| done.map_err(Unsettled::Management)).collect();
    close_books(core, answers, &mut results).await;
    results
}

async fn mark(
    core: &Core,
    management: &dyn Management,
    answers: &[Settlement],
) -> Vec<Result<Marked, ManagementError>> {
    let (mut applied, mut failed) = (Vec::new(), Vec::new());
    let (mut applied_at, mut failed_at) = (Vec::new(), Vec::new());
    let at_ms = core.clock.now_ms();
    for (index, settlement) in answers.iter().enumerate() {
        let Settlement { flight, answer, .. } = settlement;
        let (row, answered) = (row_key(flight), settlement.answered());
        match answer {
            Answer::Applied { signed, store } => {
                let (proof, store) = (Answer::proof(*signed), store.clone());
                applied.push(TargetSuccess { row, proof, store, answered, at_ms });
                applied_at.push(index);
            }
            Answer::Failed { reason } => {
                let reason = reason.clone();
                failed.push(TargetError { row, reason, retry_at_ms: None, answered, at_ms });
                failed_at.push(index);
            }
        }
    }
    let applied = together(&applied, |part| management.mark_target_success(part)).await;
    let failed = together(&failed, |part| management.mark_target_error(part)).await;
    let mut marked: Vec<_> =
        applied_at.into_iter().zip(applied).chain(failed_at.into_iter().zip(failed)).collect();
    marked.sort_by_key(|(index, _)| *index);
    marked.into_iter().map(|(_, result)| result).collect()
}

/// Records failed deliveries at the management side and reports what they complete. A failure that
/// cannot be recorded is announced and left to the next sync.
pub(crate) async fn fail(core: &Core, management: &dyn Management, failures: Vec<Failure>) {
    if failures.is_empty() {
        return;
    }
    let _guards = core.locks.settle(failures.iter().map(|failure| &failure.error.row.key)).await;
    let Some(failures) = still_current(core, failures).await else { return };
    let (errors, removals): (Vec<_>, Vec<_>) =
        failures.into_iter().map(|failure| (failure.error, failure.removed)).unzip();
    let marked = together(&errors, |part| management.mark_target_error(part)).await;
    for ((error, removed), marked) in errors.into_iter().zip(removals).zip(marked) {
        let TargetError { row, reason, retry_at_ms, .. } = error;
        let RowKey { key, target, revision } = row;
        let flight = InFlight {
            key,
            target,
            revision,
            receive_only: false,
            removed,
            again: false,
            tried: None,
        };
        let followed = match marked {
            Ok(marked) => follow_up(core, management, &flight, marked).await,
            Err(error) => Err(error),
        };
        let InFlight { key, target, revision, .. } = flight;
        let will_retry = retry_at_ms.is_some();
        core.hub.emit(Event::DeliveryFailed { key, target, revision, reason, will_retry });
        match followed {
            Ok(complete) => complete.into_iter().for_each(|event| core.hub.emit(event)),
            Err(error) => {
                let reason = error.to_string();
                core.hub.emit(Event::Retrying { what: "recording a failed delivery", reason });
            }
        }
    }
}

/// Without those about revisions that are not current any more. `None` when that cannot be told.
async fn still_current(core: &Core, failures: Vec<Failure>) -> Option<Vec<Failure>> {
    let rows: Vec<_> = failures.iter().map(|f| (&f.error.row.key, f.error.row.revision)).collect();
    match core.ledger.currencies(&rows).await {
        Ok(currencies) => {
            let rows = failures.into_iter().zip(currencies);
            Some(
                rows.filter(|(_, c)| *c == Currency::Current).map(|(failure, _)| failure).collect(),
            )
        }
        Err(error) => {
            let reason = error.to_string();
            core.hub.emit(Event::Retrying { what: "recording failed deliveries", reason });
            None
        }
    }
}

/// Reports a revision that a sync found complete, unless a newer one has come meanwhile.
pub(crate) async fn report_found(
    core: &Core,
    management: &dyn Management,
    key: &CredentialKey,
    decided: Decided,
    outcome: Outcome,
) -> Result<(), Unsettled> {
    let _guards = core.locks.settle(std::iter::once(key)).await;
    let currencies =
        core.ledger.currencies(&[(key, decided.revision)]).await.map_err(Unsettled::State)?;
    if currencies != [Currency::Current] {
        return Ok(());
    }
    report(core, management, key, decided, outcome).await.map_err(Unsettled::Management)
}

/// Reports a revision that no target is outstanding for. The caller holds the lock.
pub(crate) async fn report(
    core: &Core,
    management: &dyn Management,
    key: &CredentialKey,
    decided: Decided,
    outcome: Outcome,
) -> Result<(), ManagementError> {
    let event = record(core, management, key, decided, outcome).await?;
    core.hub.emit(event);
    Ok(())
}

/// As [`report`], but what is to be told of it is left to the caller.
async fn record(
    core: &Core,
    management: &dyn Management,
    key: &CredentialKey,
    decided: Decided,
    outcome: Outcome,
) -> Result<Event, ManagementError> {
    let Decided { revision, removed } = decided;
    let at_ms = core.clock.now_ms();
    let report = FullyPropagated { key: key.clone(), revision, outcome, at_ms };
    management.mark_credential_fully_propagated(report).await?;
    Ok(Event::FullyPropagated { key: key.clone(), revision, outcome, removed })
}

/// Reports what a row completed, if it completed anything; what is to be told of it.
async fn follow_up(
    core: &Core,
    management: &dyn Management,
    flight: &InFlight,
    marked: Marked,
) -> Result<Option<Event>, ManagementError> {
    match marked {
        Marked::Outstanding if is_on(Mutation::PlainClearedEarly) => {
            let decided = Decided { revision: flight.revision, removed: flight.removed };
            record(core, management, &flight.key, decided, Outcome::Success).await.map(Some)
        }
        Marked::Outstanding | Marked::Stale => Ok(None),
        Marked::Settled { succeeded, failed } => {
            let outcome = Outcome::of(succeeded, failed);
            let decided = Decided { revision: flight.revision, removed: flight.removed };
            record(core, management, &flight.key, decided, outcome).await.map(Some)
        }
    }
}

fn announce(core: &Core, settlement: &Settlement) {
    let InFlight { key, target, revision, removed, again, .. } = settlement.flight.clone();
    let error = match &settlement.answer {
        Answer::Applied { .. } => None,
        Answer::Failed { reason } => Some(reason.clone()),
    };
    core.hub.emit(Event::AckReceived { key, target, revision, error, removed, again });
}

/// Writes the settled answers into the books, so that later ones are told from forged ones and no
/// sync sends the event again.
async fn close_books(core: &Core, answers: &[Settlement], results: &mut [Result<(), Unsettled>]) {
    let settled: Vec<usize> = (0..results.len()).filter(|&index| results[index].is_ok()).collect();
    let records: Vec<_> = settled
        .iter()
        .map(|&index| {
            let Settlement { flight, event_id, answer } = answers[index].clone();
            (flight, event_id, answer)
        })
        .collect();
    for (index, recorded) in settled.into_iter().zip(core.ledger.record_answers(&records).await) {
        if let Err(error) = recorded {
            results[index] = Err(Unsettled::State(error));
        }
    }
}

/// So many transient failures in a row mean that it is not the row: the rest is not tried.
pub(crate) const CONVINCED: usize = 3;

/// Calls with all entries at once; if that fails, with each by itself, so that one bad row does not
/// fail the others.
async fn together<'a, T: Sync, R>(
    entries: &'a [T],
    call: impl Fn(&'a [T]) -> BoxFuture<'a, Result<Vec<R>, ManagementError>>,
) -> Vec<Result<R, ManagementError>> {
    if entries.is_empty() {
        return Vec::new();
    }
    match counted(entries, call(entries).await) {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(error) if entries.len() == 1 => vec![Err(error)],
        Err(_) => {
            let mut results = Vec::with_capacity(entries.len());
            let mut away = 0;
            for entry in entries {
                if away == CONVINCED {
                    results.push(Err(ManagementError::transient("the management side is away")));
                    continue;
                }
                let one = std::slice::from_ref(entry);
                let answer = counted(one, call(one).await);
                away = match &answer {
                    Err(error) if error.is_transient() => away + 1,
                    _ => 0,
                };
                results.push(answer.and_then(|mut answers| answers.pop().ok_or_else(miscounted)));
            }
            results
        }
    }
}

fn counted<T, R>(
    entries: &[T],
    answers: Result<Vec<R>, ManagementError>,
) -> Result<Vec<R>, ManagementError> {
    answers.and_then(
        |answers| {
            if answers.len() == entries.len() { Ok(answers) } else { Err(miscounted()) }
        },
    )
}

fn miscounted() -> ManagementError {
    ManagementError::permanent("the adapter did not give one answer per entry")
}

pub(crate) fn row_key(flight: &InFlight) -> RowKey {
    RowKey { key: flight.key.clone(), target: flight.target.clone(), revision: flight.revision }
}
