//! After a decision: send it, and wait for the targets where that is asked for.

use std::time::Duration;

use clap::Args;
use hmac_propagator::id::{CredentialKey, Revision};
use hmac_propagator::management::RowStatus;
use hmac_propagator::management::sql::CredentialInfo;
use hmac_propagator::propagator::SyncSummary;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::driver::Driver;
use super::operator::Operator;
use super::progress::Progress;
use super::show::{Standing, is_open};
use crate::fault::{Exit, Fault};

/// Between looks at the database. The answers may be taken by another process.
const LOOK: Duration = Duration::from_millis(200);

/// Between syncs while waiting, which send again what is due.
const SEND: Duration = Duration::from_secs(2);

/// Whether to wait.
#[derive(Args)]
pub(super) struct Follow {
    /// Wait until all targets have answered, and show who has not.
    #[arg(long)]
    wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// A decision that is followed. Without a revision, whatever the credential has.
pub(super) struct Decided {
    pub(super) key: CredentialKey,
    pub(super) revision: Option<Revision>,
}

/// How it went.
pub(super) struct Followed {
    sent: Result<SyncSummary, Fault>,
    end: End,
    /// The credentials as they are at the end.
    pub(super) infos: Vec<CredentialInfo>,
}

enum End {
    NotWaited,
    Complete,
    Failed,
    Superseded,
    TimedOut,
    Interrupted,
    /// The database could not be read any more.
    Lost(Fault),
}

impl Follow {
    pub(super) fn waits(&self) -> bool {
        self.wait
    }

    /// Sends, and waits if asked to. Fails never: what was decided is to be shown in any case.
    pub(super) async fn follow(
        &self,
        operator: &Operator,
        driver: &Driver,
        decided: &[Decided],
    ) -> Followed {
        let sent = driver.send().await;
        let mut followed = Followed { sent, end: End::NotWaited, infos: Vec::new() };
        followed.end = if self.wait {
            followed.wait(operator, driver, decided, Instant::now() + self.timeout).await
        } else {
            followed.look(operator, decided).await.map_or_else(End::Lost, |()| End::NotWaited)
        };
        followed
    }
}

impl Followed {
    async fn wait(
        &mut self,
        operator: &Operator,
        driver: &Driver,
        decided: &[Decided],
        until: Instant,
    ) -> End {
        let mut progress = Progress::new();
        let mut next_send = Instant::now() + SEND;
        loop {
            if let Err(fault) = self.look(operator, decided).await {
                return End::Lost(fault);
            }
            if let Some(end) = self.settled(decided) {
                return end;
            }
            progress.say(self.outstanding());
            tokio::select! {
                biased;
                () = driver.interrupted() => return End::Interrupted,
                () = sleep_until(until) => return End::TimedOut,
                () = sleep(LOOK) => {}
            }
            if Instant::now() >= next_send {
                // At the deadline what was sent last counts.
                if let Ok(sent) = timeout_at(until, driver.send()).await {
                    self.sent = sent;
                }
                next_send = Instant::now() + SEND;
            }
        }
    }

    /// Reads the credentials; from the second time on, those that were still open.
    async fn look(&mut self, operator: &Operator, decided: &[Decided]) -> Result<(), Fault> {
        if self.infos.is_empty() {
            for decision in decided {
                self.infos.extend(operator.credential(&decision.key).await?);
            }
            return Ok(());
        }
        for info in self.infos.iter_mut().filter(|info| Standing::of(info) == Standing::Open) {
            if let Some(now) = operator.credential(&info.key).await? {
                *info = now;
            }
        }
        Ok(())
    }

    /// `None` while something is open.
    fn settled(&self, decided: &[Decided]) -> Option<End> {
        let overtaken = decided.iter().any(|decision| {
            let info = self.infos.iter().find(|info| info.key == decision.key);
            info.is_some_and(|info| decision.revision.is_some_and(|own| info.revision > own))
        });
        if overtaken {
            return Some(End::Superseded);
        }
        let standings: Vec<Standing> = self.infos.iter().map(Standing::of).collect();
        if standings.contains(&Standing::Open) {
            return None;
        }
        Some(if standings.contains(&Standing::Failed) { End::Failed } else { End::Complete })
    }

    fn outstanding(&self) -> String {
        let all = self.infos.iter().flat_map(|info| &info.targets);
        let mut open: Vec<&str> =
            all.clone().filter(|target| is_open(target)).map(|t| t.target.as_str()).collect();
        let (total, waiting) = (all.count(), open.len());
        open.sort_unstable();
        open.dedup();
        format!("{} of {total} have answered; waiting for {}", total - waiting, some(&open))
    }

    fn not_holding(&self) -> String {
        let rows = self.infos.iter().flat_map(|info| info.targets.iter());
        let mut names: Vec<&str> = rows
            .filter(|target| target.status != RowStatus::Success)
            .map(|target| target.target.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        some(&names)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.infos.iter().all(|info| Standing::of(info) == Standing::Complete)
    }

    /// What the last sync did, or why there was none.
    pub(super) fn sent_json(&self) -> Value {
        match &self.sent {
            Ok(summary) => summary_json(summary),
            Err(fault) => json!({ "error": fault.explained() }),
        }
    }

    /// How waiting ended; null when nobody waited.
    pub(super) fn end_json(&self) -> Value {
        match self.end {
            End::NotWaited => Value::Null,
            End::Complete => "complete".into(),
            End::Failed => "failed".into(),
            End::Superseded => "superseded".into(),
            End::TimedOut => "timeout".into(),
            End::Interrupted => "interrupted".into(),
            End::Lost(_) => "lost".into(),
        }
    }

    pub(super) fn summary(&self) -> Option<&SyncSummary> {
        self.sent.as_ref().ok()
    }

    /// With what the command ends.
    pub(super) fn verdict(self) -> Result<(), Fault> {
        let names = self.not_holding();
        let problem = |text: String| Err(Fault::new(text).exit(Exit::Problems));
        match (self.end, self.sent) {
            (End::Lost(fault), _) => Err(fault),
            (End::Complete, _) | (End::NotWaited, Ok(_)) => Ok(()),
            (End::Interrupted, _) => {
                let text = format!("interrupted; not confirmed by {names}");
                Err(Fault::new(text).exit(Exit::Interrupted))
            }
            (End::NotWaited | End::TimedOut, Err(fault)) => Err(fault),
            (End::TimedOut, Ok(_)) => problem(format!("no answer in time from {names}")),
            (End::Failed, _) => problem(format!("not held by {names}; see the reasons above")),
            (End::Superseded, _) => problem("a newer decision overtook this one".into()),
        }
    }
}

fn summary_json(summary: &SyncSummary) -> Value {
    json!({
        "propagationsRead": summary.propagations_read,
        "targetsPublished": summary.targets_published,
        "targetsRetrying": summary.targets_retrying,
        "targetsWaiting": summary.targets_waiting,
        "rowsUnusable": summary.rows_unusable,
        "rowsOutdated": summary.rows_outdated,
        "durationMs": u64::try_from(summary.duration.as_millis()).unwrap_or(u64::MAX),
    })
}

/// The first of many names.
fn some(names: &[&str]) -> String {
    const MOST: usize = 10;
    let shown = names[..names.len().min(MOST)].join(", ");
    match names.len() {
        0 => "nobody".into(),
        count if count > MOST => format!("{shown} and {} more", count - MOST),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_cut_short() {
        assert_eq!(some(&[]), "nobody");
        assert_eq!(some(&["a", "b"]), "a, b");
        assert_eq!(some(&["x"; 12]), "x, x, x, x, x, x, x, x, x, x and 2 more");
    }
}
