//! What the pipelines share: ports, books and limits of one peer.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::cursor::Timestamp;
use crate::doubts::Doubts;
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind};
use crate::event::EventHub;
use crate::gate::Gate;
use crate::id::{PeerQueue, Track};
use crate::identities::Identities;
use crate::ledger::Ledger;
use crate::locks::CredentialLocks;
use crate::management::Management;
use crate::recent::RecentVersions;
use crate::refused::Refusals;
use crate::secret::PropagationSecret;
use crate::sources::SourceCache;
use crate::store::CredentialStore;
use crate::transport::Transport;

mod apply;
mod identify;
mod source_secret;

/// One peer.
pub(crate) struct Core {
    pub(crate) own: PeerQueue,
    pub(crate) secret: PropagationSecret,
    /// Secrets of sources that the configuration gives, to sign answers with.
    pub(crate) source_secrets: HashMap<PeerQueue, PropagationSecret>,
    /// Secrets of sources that the management side gave, for a while.
    pub(crate) known_sources: SourceCache,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) stores: Vec<Arc<dyn CredentialStore>>,
    pub(crate) management: Option<Arc<dyn Management>>,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) hub: EventHub,
    /// Where refused messages are kept for inspection.
    pub(crate) refusals: Refusals,
    pub(crate) gate: Gate,
    pub(crate) locks: CredentialLocks,
    pub(crate) recent: RecentVersions,
    /// The own stores, and who is to hear when they are others.
    pub(crate) identities: Identities,
    /// Decisions in doubt that this process has seen.
    pub(crate) doubts: Doubts,
    pub(crate) limits: Limits,
    /// Cancelled when the peer closes: nothing new is begun.
    pub(crate) stop: CancellationToken,
    /// Cancelled when the time to finish is over: whatever still waits gives up.
    pub(crate) abort: CancellationToken,
}

/// Adapters print what they like, secrets and connection strings among it: only the name is shown.
impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("own", &self.own).finish_non_exhaustive()
    }
}

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Longest accepted message, in bytes.
    pub(crate) message_bytes: usize,
    /// How far ahead of the own clock a received `ts` may be.
    pub(crate) most_ahead: Duration,
    /// Between tries of what fails for now.
    pub(crate) retry: Backoff,
    /// Most rows of a page.
    pub(crate) page: usize,
    /// Most events that are being published at once.
    pub(crate) publish_window: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 1 << 20,
            most_ahead: Duration::from_secs(300),
            retry: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
            page: 1000,
            publish_window: 1024,
        }
    }
}

impl Core {
    pub(crate) fn management(&self) -> Result<&Arc<dyn Management>, Error> {
        self.management.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::ManagementNotConfigured,
                "this peer is receive-only: it was built without a management side",
            )
        })
    }

    pub(crate) fn store(&self, track: Track) -> Option<&Arc<dyn CredentialStore>> {
        self.stores.iter().find(|store| store.track() == track)
    }

    /// The clock as a `ts` for what has no version of its own.
    pub(crate) fn timestamp(&self) -> Timestamp {
        #[allow(clippy::cast_precision_loss)]
        Timestamp::new(self.clock.now_ms() as f64).unwrap_or_else(|_| Timestamp::zero())
    }

    /// Waits before the next try of something that failed `failures + 1` times.
    ///
    /// Returns `false` when there is no time left to try again.
    pub(crate) async fn pause(&self, failures: u32) -> bool {
        let delay = self.limits.retry.delay(failures, &*self.entropy);
        tokio::select! {
            biased;
            () = self.abort.cancelled() => false,
            () = tokio::time::sleep(delay) => true,
        }
    }
}
