//! Keeps one direction connected: connect, work, and when the link is lost, wait and start over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::health::Report;
use super::link::{Link, Monitor};
use crate::backoff::Backoff;
use crate::broker::BrokerOptions;
use crate::entropy::Entropy;

/// A link that lasted this long was a good one: the next wait is short again.
const STABLE: Duration = Duration::from_secs(5);

const FIRST_WAIT: Duration = Duration::from_millis(100);

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a direction does with its link.
#[async_trait]
pub(super) trait Duty: Send {
    /// Works until the link is of no use any more, and says why. The supervisor drops this future
    /// when the link is lost or the transport closes.
    async fn serve(&mut self, link: &Arc<Link>, report: &Report) -> String;
}

/// Owns one direction's links, one after the other.
pub(super) struct Supervisor {
    pub(super) options: Arc<BrokerOptions>,
    pub(super) connection_name: String,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) report: Report,
    /// From here on, no new link. Cancelled before or together with `shutdown`.
    pub(super) last_link: CancellationToken,
    /// Ends the link that is up, with a goodbye.
    pub(super) shutdown: CancellationToken,
}

impl Supervisor {
    /// Runs until one of the tokens ends it.
    pub(super) async fn run(self, mut duty: impl Duty) {
        let backoff = Backoff::new(FIRST_WAIT, self.options.reconnect_most);
        let mut failures = 0;
        while let Some(attempt) = self.unless_last(self.connect()).await {
            let started = Instant::now();
            let reason = match attempt {
                Ok((link, monitor)) => match self.generation(&link, monitor, &mut duty).await {
                    Some(reason) => reason,
                    None => break,
                },
                Err(reason) => reason,
            };
            if self.last_link.is_cancelled() {
                break;
            }
            self.report.down(&reason);
            if started.elapsed() >= STABLE {
                failures = 0;
            }
            let wait = backoff.delay(failures, &*self.entropy);
            if self.unless_last(sleep(wait)).await.is_none() {
                break;
            }
            failures = failures.saturating_add(1);
        }
        self.report.closed();
    }

    async fn connect(&self) -> Result<(Arc<Link>, Monitor), String> {
        Link::connect(&self.options, &self.connection_name).await
    }

    /// One link from its connect to its end. `None`: the transport closes.
    async fn generation(
        &self,
        link: &Arc<Link>,
        monitor: Monitor,
        duty: &mut impl Duty,
    ) -> Option<String> {
        let reason = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => {
                link.close(GOODBYE).await;
                return None;
            }
            reason = monitor.lost() => reason,
            reason = duty.serve(link, &self.report) => reason,
        };
        link.end(reason.as_str());
        Some(reason)
    }

    async fn unless_last<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.last_link.cancelled() => None,
            done = work => Some(done),
        }
    }
}
