//! One machine of the mesh, and the process that runs on it at the moment: whatever happens to a
//! process, another one starts after it on the same stores.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::clock::SkewedClock;
use super::database::{Database, Tables};
use super::disk::{Books, Disk, namespace};
use super::fence::Fence;
use super::link::{Link, Settling};
use super::mesh::secret_of;
use super::node::NodePeer;
use super::plan::{Kind, Shape};
use super::random::SeededEntropy;
use super::watcher::Watcher;
use super::world::World;
use crate::broker::BrokerOptions;
use crate::entropy::Entropy;
use crate::id::{PeerQueue, Track};
use crate::propagator::Propagator;
use crate::secret::{BrokerPassword, SecretToken};
use crate::store::KeyedCredentialStore;
use crate::transport::Deliveries;

pub(super) struct Site {
    pub(super) world: Arc<World>,
    pub(super) name: String,
    pub(super) queue: PeerQueue,
    pub(super) kind: Kind,
    pub(super) tracks: Vec<Track>,
    pub(super) disk: Arc<Disk>,
    pub(super) tables: Option<Arc<Tables>>,
    pub(super) clock: SkewedClock,
    /// The peers that send it events.
    pub(super) sources: BTreeSet<PeerQueue>,
    pub(super) process: Mutex<Option<Process>>,
    /// Nothing goes wrong any more: what has died starts again at once.
    pub(super) calm: AtomicBool,
    /// What went wrong last is over, too: no call may fail any more.
    pub(super) faultless: AtomicBool,
    /// Nothing starts here any more.
    pub(super) retired: AtomicBool,
    /// At which passage the first process crashes; 0: at none.
    pub(super) crash_at: AtomicU64,
    /// The first process crashed.
    pub(super) crashed: AtomicBool,
}

/// What runs at the moment.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) fence: Arc<Fence>,
    pub(super) link: Arc<Link>,
    /// `None`: not one of ours.
    pub(super) propagator: Option<Propagator>,
}

impl Site {
    pub(super) fn process(&self) -> Option<Process> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.clone().filter(|process| !process.fence.is_dead())
    }

    /// Starts processes one after the other, for ever. Those that died are kept as they were: what
    /// they had sent off may still arrive.
    pub(super) async fn keep_alive(self: Arc<Self>, shape: Shape) {
        let mut dead = Vec::new();
        for run in 1_u64.. {
            let process = self.start(run, &shape);
            let crash_at = self.crash_at.swap(0, Ordering::Relaxed);
            if crash_at > 0 {
                process.fence.crash_after(crash_at);
            }
            let (fence, link) = (process.fence.clone(), process.link.clone());
            *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process.clone());
            dead.push(process);
            fence.died().await;
            if run == 1 && !self.retired.load(Ordering::Relaxed) {
                self.crashed.store(true, Ordering::Relaxed);
            }
            link.end();
            let calm = self.calm.load(Ordering::Relaxed);
            let most = if calm { shape.restart_ms.min(1_000) } else { shape.restart_ms };
            let ms = self.world.random().between(1, most);
            tokio::time::sleep(Duration::from_millis(ms)).await;
            if self.retired.load(Ordering::Relaxed) {
                // Calls that never end keep handles: nothing of theirs is to wait and try again.
                dead.iter()
                    .filter_map(|process| process.propagator.as_ref())
                    .for_each(Propagator::abandon);
                return;
            }
        }
    }

    /// Ends what runs here, for good.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        if let Some(process) = self.process() {
            process.fence.kill();
        }
    }

    fn start(&self, run: u64, shape: &Shape) -> Process {
        let name = format!("{}#{run}", self.name);
        self.world.note(format_args!("{name} starts"));
        // The Node package's two writes are guarded by nothing: one that arrives after its sender
        // died would harm it, and that is not ours to test. Nor can an adapter that ignores
        // revisions tell a late call from a timely one.
        let late_effects = self.kind != Kind::Node && !shape.naive;
        let fence = Arc::new(Fence::new(self.world.clone(), name, late_effects));
        let prefetch = if self.kind == Kind::Node { 1 } else { shape.prefetch };
        let settling = Settling { disk: self.disk.clone(), tables: self.tables.clone() };
        let (link, deliveries) = Link::start(fence.clone(), self.queue.clone(), prefetch, settling);
        let propagator = if self.kind == Kind::Node {
            tokio::spawn(self.node(&fence, &link).run(deliveries));
            None
        } else {
            Some(self.propagator(&fence, &link, deliveries, shape))
        };
        Process { fence, link, propagator }
    }

    fn node(&self, fence: &Arc<Fence>, link: &Arc<Link>) -> NodePeer {
        let sources: BTreeMap<_, _> =
            self.sources.iter().map(|name| (name.clone(), secret_of(name))).collect();
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(self.world.random().next()));
        NodePeer {
            own: self.queue.clone(),
            secret: secret_of(&self.queue),
            sources,
            books: self.books(fence),
            link: link.clone(),
            clock: Arc::new(self.clock.clone()),
            entropy,
        }
    }

    fn propagator(
        &self,
        fence: &Arc<Fence>,
        link: &Arc<Link>,
        deliveries: Deliveries,
        shape: &Shape,
    ) -> Propagator {
        let mut broker = BrokerOptions::new("simulated", BrokerPassword::new("simulated"));
        broker.prefetch = shape.prefetch;
        let (first, most) = shape.answer_ms;
        let own = self.queue.clone();
        let mut builder =
            Propagator::builder(broker, own, secret_of(&self.queue), self.books(fence))
                .clock(self.clock.clone())
                .entropy(SeededEntropy::new(self.world.random().next()))
                .observer(Watcher::new(fence.clone(), self.disk.clone(), shape.clone()))
                .secret_token(SecretToken::new(format!("pepper of {}", self.queue)))
                .hand_over_plain_secrets(shape.hand_over_plain)
                .answer_timeout(Duration::from_millis(first), Duration::from_millis(most))
                .most_ahead(Duration::from_millis(shape.most_ahead_ms))
                .page_size(shape.page)
                .store_check(Duration::from_millis(shape.store_check_ms));
        for &track in &self.tracks {
            let namespace = namespace(&self.queue, track);
            let store = KeyedCredentialStore::new(self.books(fence), track, namespace);
            builder = builder.credential_store(store);
        }
        if let Some(tables) = &self.tables {
            let tables = tables.clone();
            builder = builder.management(Database { fence: fence.clone(), tables });
        }
        if self.kind == Kind::Signing {
            for source in &self.sources {
                builder = builder.source_secret(source.clone(), secret_of(source));
            }
        }
        if self.kind == Kind::ReceiveOnly {
            for source in &self.sources {
                builder = builder.source(source.clone());
            }
        }
        builder.launch_on(link.clone(), deliveries)
    }

    fn books(&self, fence: &Arc<Fence>) -> Books {
        Books { fence: fence.clone(), disk: self.disk.clone() }
    }
}
