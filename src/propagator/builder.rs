//! Puts a peer together.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Inner, Propagator, links};
use crate::backoff::Backoff;
use crate::broker::BrokerOptions;
use crate::callbacks::Bounded;
use crate::clock::{Clock, SystemClock};
use crate::core::{Core, Limits};
use crate::entropy::{Entropy, OsEntropy};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventHub, Observer};
use crate::id::PeerQueue;
use crate::inbound;
use crate::ledger::{Ledger, Timing};
use crate::management::Management;
use crate::outbound::DeclaredTargets;
use crate::refused::{Refusals, RefusedMessages};
use crate::secret::{PropagationSecret, SecretToken};
use crate::state::{DEFAULT_PREFIX, StateStore};
use crate::store::CredentialStore;
use crate::transport::amqp::AmqpTransport;
use crate::transport::{Deliveries, Transport};
use crate::upkeep;

/// Collects what a peer is made of. Start with [`Propagator::builder`].
pub struct Builder {
    broker: BrokerOptions,
    own: PeerQueue,
    secret: PropagationSecret,
    state: Arc<dyn StateStore>,
    state_prefix: String,
    stores: Vec<Arc<dyn CredentialStore>>,
    management: Option<Arc<dyn Management>>,
    token: SecretToken,
    hand_over_plain: bool,
    source_secrets: HashMap<PeerQueue, PropagationSecret>,
    sources: BTreeSet<PeerQueue>,
    store_check: Duration,
    observer: Option<Arc<dyn Observer>>,
    events: usize,
    limits: Limits,
    timing: Timing,
    sync_every: Option<Duration>,
    callback_timeout: Duration,
    close_deadline: Duration,
    fail_fast: bool,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Propagator {
    /// Starts to put a peer together from what every peer has: a broker, its own queue name, the
    /// secret that messages to it must carry, and a state store. At least one credential store must
    /// be added.
    pub fn builder(
        broker: BrokerOptions,
        own_queue: PeerQueue,
        propagation_secret: PropagationSecret,
        state: impl StateStore,
    ) -> Builder {
        Builder {
            broker,
            own: own_queue,
            secret: propagation_secret,
            state: Arc::new(state),
            state_prefix: DEFAULT_PREFIX.into(),
            stores: Vec::new(),
            management: None,
            token: SecretToken::default(),
            hand_over_plain: false,
            source_secrets: HashMap::new(),
            sources: BTreeSet::new(),
            store_check: Duration::from_secs(1),
            observer: None,
            events: 1024,
            limits: Limits::default(),
            timing: Timing::default(),
            sync_every: None,
            callback_timeout: Duration::from_secs(10),
            close_deadline: Duration::from_secs(10),
            fail_fast: false,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
        }
    }
}

impl Builder {
    /// Adds the credentials of a track. Its cursors must stand in the same state store, under the
    /// same prefix; a second store for a track replaces the first. Default: none, and at least one
    /// is required.
    #[must_use]
    pub fn credential_store(mut self, store: impl CredentialStore) -> Self {
        self.stores.retain(|other| other.track() != store.track());
        self.stores.push(Arc::new(store));
        self
    }

    /// Makes it a full peer. Default: none, receive-only.
    #[must_use]
    pub fn management(mut self, management: impl Management) -> Self {
        self.management = Some(Arc::new(management));
        self
    }

    /// The pepper that plain secrets are hashed with. Default: empty, an unkeyed hash.
    #[must_use]
    pub fn secret_token(mut self, token: SecretToken) -> Self {
        self.token = token;
        self
    }

    /// Hands plain secrets to the management side at ensure and rotate, which then has to keep and
    /// clear them. Default: no, it gets hashes only.
    #[must_use]
    pub fn hand_over_plain_secrets(mut self, hand_over: bool) -> Self {
        self.hand_over_plain = hand_over;
        self
    }

    /// The secret of a source, so that answers to it are signed although this peer has no
    /// management side that knows it. Default: answers of a receive-only peer are unsigned.
    #[must_use]
    pub fn source_secret(mut self, source: PeerQueue, secret: PropagationSecret) -> Self {
        self.source_secrets.insert(source, secret);
        self
    }

    /// Sees every event. Default: none.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// How many events a slow reader of [`Propagator::events`] may lag behind. Default: 1024.
    #[must_use]
    pub fn event_capacity(mut self, events: usize) -> Self {
        self.events = events;
        self
    }

    /// The first part of the keys that cursors and events in flight stand under. Default:
    /// `propagation`, as Node peers have it.
    #[must_use]
    pub fn state_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.state_prefix = prefix.into();
        self
    }

    /// Names a source of events, to be told when a store of this peer was lost, so that it sends again
    /// what was in it. Sources that have a secret here ([`Builder::source_secret`]), that the directory of
    /// the management side has, or that sent an event since the start, need not be named. Default: none.
    #[must_use]
    pub fn source(mut self, source: PeerQueue) -> Self {
        self.sources.insert(source);
        self
    }

    /// How often to look whether the credential stores are still the ones that they were. At least
    /// 10 ms. Default: 1 s.
    #[must_use]
    pub fn store_check(mut self, interval: Duration) -> Self {
        self.store_check = interval;
        self
    }

    /// How long to wait for a target's answer before its event is sent again: from `first`,
    /// doubling with each try, up to `most`. An event that still waits in its target's queue is not
    /// sent again, however long that takes. Default: 30 s to 1 h.
    #[must_use]
    pub fn answer_timeout(mut self, first: Duration, most: Duration) -> Self {
        self.timing.answer = Backoff::new(first, most);
        self
    }

    /// Between tries of what failed for now, from `first`, doubling, up to `most`. Default: 100 ms
    /// to 5 s.
    #[must_use]
    pub fn retry(mut self, first: Duration, most: Duration) -> Self {
        self.limits.retry = Backoff::new(first, most);
        self
    }

    /// How long one callback of the management side may take. After that it is dropped and counts as
    /// a transient failure. Default: 10 s.
    #[must_use]
    pub fn callback_timeout(mut self, longest: Duration) -> Self {
        self.callback_timeout = longest;
        self
    }

    /// How long a decision keeps others about the same credential waiting if its process dies in
    /// the middle. Must be longer than a decision may take, and so than
    /// [`Builder::callback_timeout`]. Default: 30 s.
    #[must_use]
    pub fn operation_lease(mut self, lease: Duration) -> Self {
        self.timing.operation_lease = lease;
        self
    }

    /// How far ahead of the own clock a received `ts` may be; events beyond are refused with an
    /// error answer. Default: 5 min.
    #[must_use]
    pub fn most_ahead(mut self, most_ahead: Duration) -> Self {
        self.limits.most_ahead = most_ahead;
        self
    }

    /// Longest accepted message in bytes. Default: 1 MiB.
    #[must_use]
    pub fn message_limit(mut self, bytes: usize) -> Self {
        self.limits.message_bytes = bytes;
        self
    }

    /// How many open rows a sync reads at a time. Default: 1000.
    #[must_use]
    pub fn page_size(mut self, rows: usize) -> Self {
        self.limits.page = rows;
        self
    }

    /// Syncs in the background this often. Default: never, only when called.
    #[must_use]
    pub fn sync_every(mut self, interval: Duration) -> Self {
        self.sync_every = Some(interval);
        self
    }

    /// How long [`Propagator::close`] may take. Default: 10 s.
    #[must_use]
    pub fn close_deadline(mut self, deadline: Duration) -> Self {
        self.close_deadline = deadline;
        self
    }

    /// Makes [`Builder::start`] wait until the peer is ready, at most for the broker's connect
    /// deadline, and fail otherwise. Default: no, it starts without broker and store and becomes
    /// ready later.
    #[must_use]
    pub fn fail_fast(mut self, fail_fast: bool) -> Self {
        self.fail_fast = fail_fast;
        self
    }

    /// Another clock, for tests. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Another source of randomness, for tests. Default: the operating system's.
    #[must_use]
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// Starts the peer. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// `InvalidOptions`, naming what is missing or out of range. With [`Builder::fail_fast`] also
    /// `Broker` when the peer does not become ready in time.
    pub async fn start(self) -> Result<Propagator> {
        self.validate()?;
        let (fail_fast, patience) = (self.fail_fast, self.broker.connect_deadline);
        let propagator = self.launch();
        if fail_fast && tokio::time::timeout(patience, propagator.ready()).await.is_err() {
            let status = propagator.status().await;
            propagator.close().await;
            let what = format!("not ready in time: {}", missing(&status));
            return Err(Error::new(ErrorKind::Broker, what));
        }
        Ok(propagator)
    }

    fn validate(&self) -> Result<()> {
        self.broker.validate()?;
        if self.stores.is_empty() {
            return Err(Error::invalid("credential stores", "one for at least one track"));
        }
        if self.events == 0 {
            return Err(Error::invalid("event_capacity", "at least 1"));
        }
        if self.limits.page == 0 {
            return Err(Error::invalid("page_size", "at least 1"));
        }
        if self.state_prefix.is_empty() {
            return Err(Error::invalid("state_prefix", "a non-empty text"));
        }
        for (name, backoff) in
            [("answer_timeout", self.timing.answer), ("retry", self.limits.retry)]
        {
            if backoff.first < Duration::from_millis(1) || backoff.most < backoff.first {
                return Err(Error::invalid(name, "at least 1 ms, and `most` not below `first`"));
            }
        }
        if self.callback_timeout.is_zero() || self.timing.operation_lease <= self.callback_timeout {
            return Err(Error::invalid(
                "operation_lease",
                "more than callback_timeout, which is more than 0",
            ));
        }
        if self.store_check < Duration::from_millis(10) {
            return Err(Error::invalid("store_check", "at least 10 ms"));
        }
        if self.sync_every.is_some_and(|every| every < Duration::from_millis(10)) {
            return Err(Error::invalid("sync_every", "at least 10 ms"));
        }
        Ok(())
    }

    fn launch(self) -> Propagator {
        let (transport, deliveries) =
            AmqpTransport::start(self.broker.clone(), &self.own, &self.entropy);
        self.launch_on(transport, deliveries)
    }

    /// Starts the peer on a transport.
    pub(crate) fn launch_on(
        self,
        transport: Arc<dyn Transport>,
        deliveries: Deliveries,
    ) -> Propagator {
        let prefetch = usize::from(self.broker.prefetch);
        let mut sources = self.sources;
        sources.extend(self.source_secrets.keys().cloned());
        let hub = EventHub::new(self.events, self.observer);
        let refused = RefusedMessages::shared(self.state.clone(), self.state_prefix.clone());
        let (refusals, keeper) = Refusals::new(refused, hub.clone());
        let ledger = Ledger::new(self.state, self.clock.clone(), self.state_prefix, self.timing);
        let core = Arc::new(Core {
            own: self.own,
            secret: self.secret,
            source_secrets: self.source_secrets,
            known_sources: crate::sources::SourceCache::default(),
            transport,
            stores: self.stores,
            management: self.management.map(|management| {
                let bounded: Arc<dyn Management> =
                    Arc::new(Bounded::new(management, self.callback_timeout));
                bounded
            }),
            ledger,
            clock: self.clock,
            entropy: self.entropy,
            hub,
            refusals,
            gate: crate::gate::Gate::default(),
            locks: crate::locks::CredentialLocks::default(),
            recent: crate::recent::RecentVersions::default(),
            doubts: crate::doubts::Doubts::default(),
            identities: crate::identities::Identities::told_to(sources),
            limits: self.limits,
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
        });
        let (stop, tasks) = (core.stop.clone(), TaskTracker::new());
        tasks.spawn(links::watch(core.clone(), stop.clone()));
        tasks.spawn(keeper.run(core.abort.clone()));
        tasks.spawn(inbound::run(core.clone(), deliveries, prefetch));
        tasks.spawn(upkeep::run(core.clone(), self.store_check, tasks.clone()));
        let propagator = Propagator {
            inner: Arc::new(Inner {
                core,
                token: self.token,
                hand_over_plain: self.hand_over_plain,
                close_deadline: self.close_deadline,
                declared: DeclaredTargets::default(),
                syncing: Mutex::new(()),
                last_sync: watch::Sender::new(None),
                tasks,
                calls: TaskTracker::new(),
                stop,
                closed: watch::Sender::new(false),
                closing: Mutex::new(()),
            }),
        };
        if let Some(every) = self.sync_every {
            propagator.sync_in_background(every);
        }
        propagator
    }
}

impl Propagator {
    fn sync_in_background(&self, every: Duration) {
        // Not a handle: those who hold one keep the peer alive.
        let peer = Arc::downgrade(&self.inner);
        let stop = self.inner.stop.clone();
        self.inner.tasks.spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(every) => {}
                }
                let Some(inner) = peer.upgrade() else { return };
                if let Err(error) = (Self { inner }).sync().await {
                    tracing::warn!("background sync: {error}");
                }
            }
        });
    }
}

fn missing(status: &super::Status) -> String {
    format!(
        "publisher {:?}, consumer {:?}, store {:?}",
        status.publisher, status.consumer, status.store
    )
}

/// Secrets inside: only the name is shown.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("own", &self.own).finish_non_exhaustive()
    }
}
