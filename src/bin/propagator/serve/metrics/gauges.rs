//! What is asked for when it is scraped: how the peer is, and what is outstanding.
//!
//! A scrape must not hang and must not fail because Redis or the database does: each is asked within
//! a bound, and what does not answer is down. What the database said is kept for a few seconds, so
//! that several scrapers cost it no more than one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hmac_propagator::event::Link;
use hmac_propagator::id::PeerQueue;
use hmac_propagator::management::sql::{OperatorError, SqlManagement, TargetBacklog, TargetInfo};
use hmac_propagator::propagator::{Propagator, Status, StoreState};
use metrics::gauge;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::labels::Labels;
use super::names;
use super::observe::{link_up, since};
use super::queues::Queues;
use crate::serve::clock::now_ms;

/// How long each may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How old what the database said may be.
const FRESH: Duration = Duration::from_secs(5);

/// States of rows, as the label `state` has them.
const STATES: [&str; 4] = ["pending", "in_flight", "retrying", "failed"];

/// Whom to ask.
pub(super) struct Gauges {
    peer: Propagator,
    management: Option<SqlManagement>,
    queues: Arc<Queues>,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    /// When the database was asked last, and whether it answered.
    asked: Option<(Instant, bool)>,
    answered: Option<Instant>,
    /// The targets that have gauges.
    shown: BTreeSet<String>,
    /// The targets, as the database said last.
    directory: Vec<PeerQueue>,
}

/// What a target lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Outstanding {
    /// In the order of [`STATES`].
    rows: [u64; 4],
    oldest: f64,
}

impl Gauges {
    pub(super) fn new(
        peer: Propagator,
        management: Option<SqlManagement>,
        queues: Arc<Queues>,
    ) -> Self {
        Self { peer, management, queues, last: Mutex::default() }
    }

    /// Sets every gauge.
    pub(super) async fn refresh(&self, targets: &Labels) {
        gauge!(names::BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1);
        let (status, database) =
            tokio::join!(timeout(PATIENCE, self.peer.status()), self.refresh_rows(targets));
        self.refresh_queues(targets).await;
        let ready = show_status(status.ok().as_ref());
        gauge!(names::READY).set(truth(ready && database != Some(false)));
        if let Some(up) = database {
            gauge!(names::DATABASE_UP).set(truth(up));
        }
    }

    async fn refresh_queues(&self, labels: &Labels) {
        let last = self.last.lock().await;
        self.queues.refresh(&last.directory, labels);
    }

    /// Whether the database answers; `None`: there is none. Scrapes that come together wait for one
    /// answer.
    async fn refresh_rows(&self, targets: &Labels) -> Option<bool> {
        let management = self.management.as_ref()?;
        let mut last = self.last.lock().await;
        let up = match last.asked {
            Some((at, up)) if at.elapsed() < FRESH => up,
            _ => {
                let asked = timeout(PATIENCE, ask(management)).await;
                let found = asked.ok().and_then(Result::ok);
                if let Some((directory, backlog)) = &found {
                    let outstanding = by_target(directory, backlog, targets, now_ms());
                    show_rows(&outstanding, &mut last.shown);
                    last.directory = directory.iter().map(|target| target.queue.clone()).collect();
                    last.answered = Some(Instant::now());
                }
                last.asked = Some((Instant::now(), found.is_some()));
                found.is_some()
            }
        };
        if let Some(answered) = last.answered {
            gauge!(names::BACKLOG_AGE).set(answered.elapsed().as_secs_f64());
        }
        Some(up)
    }
}

async fn ask(
    management: &SqlManagement,
) -> Result<(Vec<TargetInfo>, Vec<TargetBacklog>), OperatorError> {
    Ok((management.targets().await?, management.backlog().await?))
}

/// Shows how the peer is; whether it can do its work.
fn show_status(status: Option<&Status>) -> bool {
    let up = |of: fn(&Status) -> bool| status.is_some_and(of);
    gauge!(names::STORE_UP).set(truth(up(|status| status.store == StoreState::Up)));
    // Without an answer of the store, what is known of the broker is not told either.
    if let Some(status) = status {
        link_up(Link::Publisher, status.publisher.is_up());
        link_up(Link::Consumer, status.consumer.is_up());
    }
    up(Status::is_ready)
}

/// What each target lacks: the whole directory, so that a target that has caught up shows zeros.
fn by_target(
    directory: &[TargetInfo],
    backlog: &[TargetBacklog],
    labels: &Labels,
    now_ms: u64,
) -> BTreeMap<String, Outstanding> {
    let mut found: BTreeMap<String, Outstanding> = BTreeMap::new();
    for target in directory {
        found.entry(labels.name(target.queue.as_str())).or_default().rows[3] += target.failed;
    }
    for target in backlog {
        let sum = found.entry(labels.name(target.target.as_str())).or_default();
        let counts = [target.pending, target.sent, target.retrying];
        sum.rows.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        sum.oldest = sum.oldest.max(since(target.oldest, now_ms));
    }
    found
}

fn show_rows(outstanding: &BTreeMap<String, Outstanding>, shown: &mut BTreeSet<String>) {
    // A target that left the directory had nothing outstanding.
    let nothing = Outstanding::default();
    let gone = shown.iter().filter(|target| !outstanding.contains_key(*target));
    let all = outstanding.iter().chain(gone.map(|target| (target, &nothing)));
    for (target, Outstanding { rows, oldest }) in all {
        gauge!(names::OLDEST, "target" => target.clone()).set(*oldest);
        for (state, count) in STATES.into_iter().zip(rows) {
            // Counts of rows are far from what a double cannot count.
            #[allow(clippy::cast_precision_loss)]
            gauge!(names::ROWS, "target" => target.clone(), "state" => state).set(*count as f64);
        }
    }
    shown.extend(outstanding.keys().cloned());
}

fn truth(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}
