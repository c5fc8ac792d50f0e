//! One pass over all open work.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::delivery::{Attempt, Claimed, Delivered, deliver};
use super::doubts::clear_doubts;
use super::local::{Waiting, bring_up};
use super::refill::refill;
use super::rows::{Job, Report, Unusable, Work, check};
use super::targets::{Declarations, DeclaredTargets};
use crate::core::Core;
use crate::error::{Error, ErrorKind, Result, StoreError};
use crate::event::Event;
use crate::gate::Passage;
use crate::ledger::{Claim, Currency, InFlight};
use crate::management::{
    FetchPending, Management, PendingPage, PendingPropagation, TargetError, TargetSent,
};
use crate::settlement::{self, Decided, Failure, Settlement, row_key};
use crate::store::Change;

/// What a sync did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncSummary {
    /// Open pieces of work that the management side named.
    pub propagations_read: u64,
    /// Events that the broker confirmed.
    pub targets_published: u64,
    /// Targets that could not be served and will be tried again.
    pub targets_retrying: u64,
    /// Targets whose answer is still awaited, or whose event still waits in their queue.
    pub targets_waiting: u64,
    /// Rows that cannot be propagated as they are; each says why.
    pub rows_unusable: u64,
    /// Rows whose revision is older than one that was decided later. A few may be seen while
    /// decisions are made; if they stay, the database was set back to an older state.
    pub rows_outdated: u64,
    /// How long it took.
    pub duration: Duration,
}

/// Works through all that is open now, page by page.
pub(crate) async fn sync(core: Arc<Core>, declared: DeclaredTargets) -> Result<SyncSummary> {
    let started = Instant::now();
    let management = core.management()?.clone();
    // First, so that what is asked again goes out with the rest.
    refill(&core, &*management).await?;
    let declarations = Declarations::new(core.transport.clone(), declared);
    let mut pass = Pass {
        core,
        management,
        declarations,
        flying: FuturesUnordered::new(),
        summary: SyncSummary::default(),
        broker_failed: false,
    };
    let worked = pass.pages().await;
    // What was published is recorded, also when the pass ends early.
    while pass.collect().await {}
    worked?;
    if pass.broker_failed {
        return Err(Error::new(ErrorKind::Broker, "the broker cannot be used now"));
    }
    pass.summary.duration = started.elapsed();
    Ok(pass.summary)
}

struct Pass {
    core: Arc<Core>,
    management: Arc<dyn Management>,
    declarations: Declarations,
    flying: FuturesUnordered<BoxFuture<'static, Delivered>>,
    summary: SyncSummary,
    /// Nothing more can be published: the rows that are left stay as they are.
    broker_failed: bool,
}

impl Pass {
    async fn pages(&mut self) -> Result<()> {
        let now_ms = self.core.clock.now_ms();
        let mut request = FetchPending::first(self.core.limits.page, now_ms);
        loop {
            let fetched = self.management.fetch_pending_propagations(request.clone()).await;
            let PendingPage { entries, next } = fetched?;
            self.summary.propagations_read += entries.len() as u64;
            clear_doubts(&self.core, &entries).await?;
            let (jobs, reports) = self.sort_out(entries).await;
            let (jobs, reports) = self.make_local(jobs, reports).await?;
            for report in reports {
                self.report(report).await;
            }
            self.launch(jobs).await?;
            while self.flying.len() >= self.core.limits.publish_window && self.collect().await {}
            match next {
                Some(next) if !self.broker_failed && !self.core.stop.is_cancelled() => {
                    request.after = Some(next);
                }
                _ => return Ok(()),
            }
        }
    }

    /// Checks each entry: rows to deliver, revisions to report. The others say why not.
    async fn sort_out(&mut self, entries: Vec<PendingPropagation>) -> (Vec<Job>, Vec<Report>) {
        let (mut jobs, mut reports, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries {
            match check(&self.core, entry) {
                Ok(Work::Deliver(job)) => jobs.push(*job),
                Ok(Work::Report(report)) => reports.push(report),
                Err(Unusable::Row(failure)) => failures.push(*failure),
                Err(Unusable::Unnamed(event)) => {
                    self.summary.rows_unusable += 1;
                    self.core.hub.emit(event);
                }
            }
        }
        self.summary.rows_unusable += failures.len() as u64;
        settlement::fail(&self.core, &*self.management, failures).await;
        (jobs, reports)
    }

    async fn report(&mut self, report: Report) {
        let Report { key, revision, outcome, change } = report;
        let decided = Decided { revision, removed: matches!(change, Some(Change::Delete)) };
        let reported =
            settlement::report_found(&self.core, &*self.management, &key, decided, outcome).await;
        if let Err(error) = reported {
            let reason = error.to_string();
            self.core.hub.emit(Event::Retrying { what: "reporting a revision", reason });
        }
    }

    /// Brings the authority's own store to each revision before its targets hear of it and before
    /// it is reported. Returns the work of all credentials but those that the store refuses, and those
    /// that a decision may be about to replace.
    async fn make_local(
        &mut self,
        jobs: Vec<Job>,
        reports: Vec<Report>,
    ) -> Result<(Vec<Job>, Vec<Report>)> {
        let Waiting { refused, undecided } = bring_up(&self.core, &jobs, &reports).await?;
        if refused.is_empty() && undecided.is_empty() {
            return Ok((jobs, reports));
        }
        let given = jobs.len();
        let jobs = jobs.into_iter().filter(|job| !undecided.contains(&job.claim.flight.key));
        let jobs: Vec<Job> = jobs.collect();
        self.summary.targets_waiting += (given - jobs.len()) as u64;
        let (failed, jobs): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| refused.contains_key(&job.claim.flight.key));
        let failures = failed.iter().filter_map(|job| {
            Some(self.later(job, format!("own store: {}", refused.get(&job.claim.flight.key)?)))
        });
        let failures: Vec<_> = failures.collect();
        self.summary.targets_retrying += failures.len() as u64;
        settlement::fail(&self.core, &*self.management, failures).await;
        let reports = reports.into_iter().filter(|report| {
            !refused.contains_key(&report.key) && !undecided.contains(&report.key)
        });
        Ok((jobs, reports.collect()))
    }

    /// Claims rows and starts to publish those that are this process's to publish.
    async fn launch(&mut self, jobs: Vec<Job>) -> Result<()> {
        let requests: Vec<_> = jobs.iter().map(|job| job.claim.clone()).collect();
        let claims = self.core.ledger.claim(&requests).await;
        let (mut answered, mut failures) = (Vec::new(), Vec::new());
        // What was claimed is published also when a later claim fails.
        let mut failed = None;
        for (job, claim) in jobs.into_iter().zip(claims) {
            let claim = match claim {
                Ok(claim) => claim,
                Err(error) if error.is_transient() => {
                    failed.get_or_insert(error);
                    continue;
                }
                Err(error) => {
                    failures.push(self.unclaimable(&job, &error));
                    continue;
                }
            };
            let (ticket, may_be_queued) = match claim {
                Claim::Publish(ticket) => (ticket, false),
                Claim::PublishUnlessQueued(ticket) => (ticket, true),
                Claim::Answered { event_id, answer } => {
                    answered.push(Settlement { flight: job.claim.flight, event_id, answer });
                    continue;
                }
                Claim::NotDue => {
                    self.summary.targets_waiting += 1;
                    continue;
                }
                Claim::Busy => {
                    self.summary.targets_waiting += 1;
                    continue;
                }
                Claim::Outdated => {
                    self.outdated(&job);
                    continue;
                }
            };
            let claimed = Claimed { job, ticket, may_be_queued };
            let delivery = deliver(self.core.clone(), self.declarations.clone(), claimed);
            self.flying.push(delivery.boxed());
        }
        self.settle_answered(answered).await;
        settlement::fail(&self.core, &*self.management, failures).await;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// The management side named a row below a revision that was decided later: it was read just
    /// before that, or the database was set back.
    fn outdated(&mut self, job: &Job) {
        let InFlight { key, target, revision, .. } = &job.claim.flight;
        self.summary.rows_outdated += 1;
        self.core.hub.emit(Event::RowUnusable {
            client: key.client_id.to_string(),
            target: target.to_string(),
            reason: format!("revision {revision} is older than one that was decided later"),
        });
    }

    /// The books refuse this row's records, for example because a key holds another type.
    fn unclaimable(&mut self, job: &Job, error: &StoreError) -> Failure {
        self.summary.targets_retrying += 1;
        self.later(job, format!("state store: {error}"))
    }

    fn later(&self, job: &Job, reason: String) -> Failure {
        let now_ms = self.core.clock.now_ms();
        let error = TargetError {
            row: row_key(&job.claim.flight),
            reason,
            retry_at_ms: Some(now_ms.saturating_add(self.core.ledger.failure_wait(1))),
            answered: None,
            at_ms: now_ms,
        };
        Failure { error, removed: job.claim.flight.removed }
    }

    /// Answers that came while the management side was away.
    async fn settle_answered(&mut self, answered: Vec<Settlement>) {
        if answered.is_empty() {
            return;
        }
        let settled = settlement::settle(&self.core, &*self.management, &answered).await;
        for error in settled.into_iter().filter_map(Result::err) {
            let reason = error.to_string();
            self.core.hub.emit(Event::Retrying { what: "settling an answer", reason });
        }
    }

    /// Waits for one delivery, takes all others that are done, and records them together. Returns
    /// whether any was left.
    async fn collect(&mut self) -> bool {
        let Some(first) = self.flying.next().await else { return false };
        let mut done = vec![first];
        while done.len() < 256 {
            match self.flying.next().now_or_never().flatten() {
                Some(delivered) => done.push(delivered),
                None => break,
            }
        }
        let (mut sent, mut passages, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for delivered in done {
            self.note(delivered, &mut sent, &mut passages, &mut failures);
        }
        self.record_sent(sent).await;
        drop(passages);
        settlement::fail(&self.core, &*self.management, failures).await;
        true
    }

    fn note(
        &mut self,
        delivered: Delivered,
        sent: &mut Vec<TargetSent>,
        passages: &mut Vec<Passage>,
        failures: &mut Vec<Failure>,
    ) {
        let Delivered { flight, ticket, was_sent, attempts_before, attempt } = delivered;
        let now_ms = self.core.clock.now_ms();
        let row = TargetSent {
            row: row_key(&flight),
            event_id: ticket.event_id,
            at_ms: now_ms,
            attempts: attempts_before.saturating_add(1),
            retry_at_ms: ticket.retry_at_ms,
        };
        match attempt {
            Attempt::Confirmed(mut passage) => {
                self.summary.targets_published += 1;
                self.announce(&row, flight.removed);
                if passage.begin_recording() {
                    passages.push(passage);
                    sent.push(row);
                }
            }
            Attempt::StillQueued => {
                self.summary.targets_waiting += 1;
                // Only the time of the next look moves; a row that was never recorded as sent
                // stays pending, since the copy in the queue may be another row's.
                if was_sent {
                    sent.push(TargetSent { attempts: attempts_before, ..row });
                }
            }
            Attempt::TargetFailed { reason, .. } => {
                self.summary.targets_retrying += 1;
                let wait = self.core.ledger.failure_wait(ticket.attempts);
                let retry_at_ms = Some(now_ms.saturating_add(wait));
                let error = TargetError {
                    row: row.row,
                    reason,
                    retry_at_ms,
                    answered: None,
                    at_ms: now_ms,
                };
                failures.push(Failure { error, removed: flight.removed });
            }
            Attempt::BrokerFailed => {
                self.summary.targets_retrying += 1;
                self.broker_failed = true;
            }
        }
    }

    fn announce(&self, sent: &TargetSent, removed: bool) {
        let row = sent.row.clone();
        self.core.hub.emit(Event::EventPublished {
            key: row.key,
            target: row.target,
            revision: row.revision,
            event_id: sent.event_id.clone(),
            attempts: sent.attempts,
            removed,
        });
    }

    /// Records rows as sent, unless a newer revision has come meanwhile: an adapter that does not
    /// guard its rows would mark that one.
    async fn record_sent(&mut self, sent: Vec<TargetSent>) {
        if sent.is_empty() {
            return;
        }
        let _guards = self.core.locks.settle(sent.iter().map(|entry| &entry.row.key)).await;
        let rows: Vec<_> = sent.iter().map(|e| (&e.row.key, e.row.revision)).collect();
        let currencies = match self.core.ledger.currencies(&rows).await {
            Ok(currencies) => currencies,
            Err(error) => return self.not_recorded(&error),
        };
        let current = sent.iter().zip(currencies).filter(|(_, c)| *c == Currency::Current);
        let sent: Vec<TargetSent> = current.map(|(entry, _)| entry.clone()).collect();
        if sent.is_empty() || self.management.mark_target_sent(&sent).await.is_ok() {
            return;
        }
        let mut away = 0;
        for entry in sent {
            match self.management.mark_target_sent(&[entry]).await {
                Ok(()) => away = 0,
                Err(error) => {
                    away = if error.is_transient() { away + 1 } else { 0 };
                    self.not_recorded(&error);
                }
            }
            if away == settlement::CONVINCED {
                return;
            }
        }
    }

    /// The books know the event, so its answer will count; until then its row stays pending, and
    /// the next sync that finds it due looks whether it still waits in the queue.
    fn not_recorded(&self, error: &dyn std::fmt::Display) {
        let reason = error.to_string();
        self.core.hub.emit(Event::Retrying { what: "recording sent events", reason });
    }
}
