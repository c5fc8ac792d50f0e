//! The handle that services use.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::hash_client_secret;
use crate::core::Core;
use crate::decision::{self, Asked, Request, distinct, tellable};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventStream};
use crate::id::{PeerQueue, Track};
use crate::outbound::{self, DeclaredTargets};
use crate::refused::RefusedMessage;
use crate::secret::{ClientSecret, SecretToken};

mod builder;
mod links;
mod status;

pub use crate::decision::{Ensure, EnsureOp, Ensured, Revoke, Revoked, Rotate, RotatedSecret};
pub use crate::outbound::SyncSummary;
pub use crate::transport::LinkState;
pub use builder::Builder;
pub use status::{LastSync, Status, StoreState};

/// One peer of a mesh.
///
/// A cheap handle: clones share the peer. Built by [`Propagator::builder`]. Without a management
/// side it is receive-only: it applies what sources send and answers; the driving calls fail with
/// `MANAGEMENT_NOT_CONFIGURED`. With one it is a full peer.
///
/// # Cancellation
/// The work of every driving call runs to its end also when the call's future is dropped; only the
/// result is lost. So no timeout around a call leaves a decision half made.
#[derive(Clone, Debug)]
pub struct Propagator {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    core: Arc<Core>,
    token: SecretToken,
    hand_over_plain: bool,
    close_deadline: Duration,
    declared: DeclaredTargets,
    /// One sync at a time: a second one would only find the first one's claims.
    syncing: Mutex<()>,
    last_sync: watch::Sender<Option<LastSync>>,
    /// Inbound loop, interval sync, link watch.
    tasks: TaskTracker,
    /// Driving calls that are under way.
    calls: TaskTracker,
    /// Ends everything that runs in the background.
    stop: CancellationToken,
    closed: watch::Sender<bool>,
    closing: Mutex<()>,
}

/// The last handle is gone without `close`: everything ends at once; what is not finished stays with
/// the broker and the management side.
impl Drop for Inner {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl Inner {
    fn abandon(&self) {
        self.stop.cancel();
        self.core.abort.cancel();
    }
}

#[cfg(feature = "simulation")]
impl Propagator {
    /// As if the last handle were gone.
    pub(crate) fn abandon(&self) {
        self.inner.abandon();
    }
}

impl Propagator {
    /// Creates a credential or gives an existing one a new secret. When this returns, the decision
    /// is recorded at the management side and in effect in this peer's own store; a sync brings it
    /// to the targets.
    ///
    /// # Errors
    /// `ManagementNotConfigured`; `InvalidOptions` for a track without a store, the own queue as a
    /// target, a target that the directory does not have, or an expiry beyond
    /// [`Expiry::LATEST_MS`](crate::store::Expiry::LATEST_MS); `Management` and `Store` when those
    /// fail: then the decision may or may not have been recorded, and ensuring again is safe.
    pub async fn ensure(&self, request: Ensure) -> Result<Ensured> {
        let Ensure { key, secret, targets, allowed_ips, expires_at, actor } = request;
        let asked = Asked::Ensure {
            secret_hash: hash_client_secret(&secret, &self.inner.token),
            plain_secret: self.plain(secret),
            targets: distinct(&self.inner.core.own, targets)?,
            allowed_ips,
            expires_at: tellable(expires_at)?,
        };
        let request = Request { asked, actor };
        let client_id = key.client_id.clone();
        let (recorded, revision) =
            self.call(|core| async move { decision::decide(&core, &key, &request).await }).await?;
        let op = if recorded.created { EnsureOp::Create } else { EnsureOp::Update };
        Ok(Ensured { client_id, op, revision })
    }

    /// Gives an existing credential a new secret; allow-list, expiry and targets stay. Otherwise as
    /// [`Propagator::ensure`].
    ///
    /// # Errors
    /// `UnknownClient` when the management side has no such credential; else as
    /// [`Propagator::ensure`].
    pub async fn rotate(&self, request: Rotate) -> Result<RotatedSecret> {
        let Rotate { key, secret, actor } = request;
        let asked = Asked::Rotate {
            secret_hash: hash_client_secret(&secret, &self.inner.token),
            plain_secret: self.plain(secret),
        };
        let request = Request { asked, actor };
        let client_id = key.client_id.clone();
        let (_, revision) =
            self.call(|core| async move { decision::decide(&core, &key, &request).await }).await?;
        Ok(RotatedSecret { client_id, revision })
    }

    /// Removes a credential: at once from this peer's own store, by the next sync from every target
    /// on record and every target named here. A credential that does not exist is removed as well,
    /// from the targets that are named.
    ///
    /// # Errors
    /// As [`Propagator::ensure`].
    pub async fn revoke(&self, request: Revoke) -> Result<Revoked> {
        let Revoke { key, targets, actor } = request;
        let asked = Asked::Revoke { targets: distinct(&self.inner.core.own, targets)? };
        let request = Request { asked, actor };
        let client_id = key.client_id.clone();
        let (_, revision) =
            self.call(|core| async move { decision::decide(&core, &key, &request).await }).await?;
        Ok(Revoked { client_id, revision })
    }

    /// Sends what is open to its targets. Safe to call at any time and by several replicas at once:
    /// each event is claimed by one of them. Calls on one peer run one after the other.
    ///
    /// Returns when the broker has confirmed what was sent; answers arrive later, see
    /// [`Event::FullyPropagated`].
    ///
    /// # Errors
    /// `ManagementNotConfigured`; `Management` or `Store` when the open work cannot be read or
    /// claimed; `Broker` when it cannot be used now. What was sent until then is recorded, the rest
    /// stays open for the next sync.
    pub async fn sync(&self) -> Result<SyncSummary> {
        self.inner.core.management()?;
        let inner = self.inner.clone();
        self.call(|core| async move {
            let _one = inner.syncing.lock().await;
            if core.stop.is_cancelled() {
                return Err(closed());
            }
            let started = tokio::time::Instant::now();
            let result = outbound::sync(core.clone(), inner.declared.clone()).await;
            let at_ms = core.clock.now_ms();
            let last = match &result {
                Ok(summary) => LastSync { at_ms, summary: Some(*summary), error: None },
                Err(error) => LastSync { at_ms, summary: None, error: Some(error.to_string()) },
            };
            core.hub
                .emit(Event::SyncEnded { duration: started.elapsed(), error: last.error.clone() });
            inner.last_sync.send_replace(Some(last));
            result
        })
        .await
    }

    /// Has a target asked again for all that it has answered for: its rows are pending again, and the
    /// next sync sends them under the ids that they had. What the target still holds it confirms, what
    /// it has lost it takes anew. For a target that lost its store and cannot say so itself: one of the
    /// Node package, or a receive-only peer that does not know this source.
    ///
    /// # Errors
    /// `ManagementNotConfigured`; `InvalidOptions` for the own queue; `Store` when the wish cannot be
    /// kept.
    pub async fn resend(&self, target: PeerQueue) -> Result<()> {
        self.inner.core.management()?;
        if target == self.inner.core.own {
            return Err(Error::invalid("target", "another peer, this is the own queue"));
        }
        self.call(|core| async move {
            for track in Track::ALL {
                core.ledger.want(track, &target, None).await?;
            }
            Ok(())
        })
        .await
    }

    /// What happens from now on. Each reader is bounded: a slow one is told how many events it
    /// missed and holds up nobody.
    #[must_use]
    pub fn events(&self) -> EventStream {
        self.inner.core.hub.subscribe()
    }

    /// What is kept of messages that were refused, also by other replicas: the newest, at most
    /// `limit` of them, newest first. See [`refused`](crate::refused).
    ///
    /// # Errors
    /// `Store` when the state store cannot be read.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn refused_messages(&self, limit: usize) -> Result<Vec<RefusedMessage>> {
        Ok(self.inner.core.refusals.messages.newest(limit).await?)
    }

    /// How the peer is, now. Asks the store, so it takes as long as the store takes to answer.
    pub async fn status(&self) -> Status {
        let health = self.inner.core.transport.health().borrow().clone();
        Status {
            publisher: health.publisher,
            consumer: health.consumer,
            store: self.store_state().await,
            last_sync: self.inner.last_sync.borrow().clone(),
            refused: self.inner.core.hub.refused(),
        }
    }

    /// Waits until the peer can do its work: both directions of the broker connection and the store
    /// are up.
    ///
    /// # Errors
    /// `Closed` when the peer is closed before that.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn ready(&self) -> Result<()> {
        let mut health = self.inner.core.transport.health();
        loop {
            let up = |state: &LinkState| state.is_up();
            let waiting = health.wait_for(|h| up(&h.publisher) && up(&h.consumer));
            tokio::select! {
                biased;
                () = self.inner.stop.cancelled() => return Err(closed()),
                up = waiting => up.map(drop).map_err(|_| closed())?,
            }
            if self.store_state().await == StoreState::Up {
                return Ok(());
            }
            if !self.inner.core.pause(0).await {
                return Err(closed());
            }
        }
    }

    /// Stops consuming, finishes what is in hand, flushes what is being published, and disconnects,
    /// within the deadline that the peer was built with. What is not finished by then stays with the
    /// broker and the management side and goes on at the next start. Idempotent; concurrent calls
    /// all wait for the end.
    pub async fn close(&self) {
        let inner = &self.inner;
        let _one = inner.closing.lock().await;
        if *inner.closed.borrow() {
            return;
        }
        let until = tokio::time::Instant::now() + inner.close_deadline;
        inner.stop.cancel();
        inner.calls.close();
        inner.tasks.close();
        let in_hand = async {
            inner.core.transport.stop_consuming().await;
            inner.calls.wait().await;
            inner.tasks.wait().await;
        };
        if tokio::time::timeout_at(until, in_hand).await.is_err() {
            tracing::warn!("closing: the time to finish is over");
        }
        inner.core.abort.cancel();
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        inner.core.transport.close(left.max(Duration::from_millis(100))).await;
        inner.closed.send_replace(true);
    }

    async fn store_state(&self) -> StoreState {
        match self.inner.core.ledger.ping().await {
            Ok(()) => StoreState::Up,
            Err(error) => StoreState::Down { reason: error.to_string() },
        }
    }

    fn plain(&self, secret: ClientSecret) -> Option<ClientSecret> {
        self.inner.hand_over_plain.then_some(secret)
    }

    /// Runs a driving call on a task of its own, so that dropping the caller's future does not stop
    /// it half way.
    async fn call<T, F>(&self, work: impl FnOnce(Arc<Core>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        if self.inner.stop.is_cancelled() {
            return Err(closed());
        }
        let work = work(self.inner.core.clone());
        let abort = self.inner.core.abort.clone();
        let task = self.inner.calls.spawn(async move {
            tokio::select! {
                biased;
                result = work => result,
                () = abort.cancelled() => Err(closed()),
            }
        });
        task.await.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Internal, "the call ended early").with_source(error))
        })
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the propagator is closed")
}
