//! All peers of a run: what each of them is, and the processes that they are at the moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::clock::SkewedClock;
use super::database::Tables;
use super::disk::Disk;
use super::plan::{Fault, Kind, Shape};
use super::site::Site;
use super::world::World;
use crate::id::{ClientId, CredentialKey, PeerQueue, Track};
use crate::secret::PropagationSecret;

pub(super) struct Mesh {
    pub(super) world: Arc<World>,
    pub(super) shape: Shape,
    /// Authorities and their replicas first.
    pub(super) sites: Vec<Arc<Site>>,
    pub(super) credentials: Vec<Owned>,
}

/// A credential and who decides about it.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    pub(super) key: CredentialKey,
    pub(super) authorities: Vec<PeerQueue>,
}

impl Owned {
    /// Several decide about it.
    pub(super) fn is_shared(&self) -> bool {
        self.authorities.len() > 1
    }
}

/// A name that is well formed by how it is made here.
#[allow(clippy::unwrap_used, reason = "letters and digits only")]
fn queue(name: &str) -> PeerQueue {
    PeerQueue::new(name).unwrap()
}

#[allow(clippy::unwrap_used, reason = "not empty")]
pub(super) fn secret_of(name: &PeerQueue) -> PropagationSecret {
    PropagationSecret::new(format!("propagation secret of {name}")).unwrap()
}

impl Mesh {
    /// Puts the peers together and starts them.
    pub(super) fn start(world: &Arc<World>, shape: Shape) -> Self {
        let names: Vec<PeerQueue> =
            ["alpha", "beta"].iter().take(shape.authorities).map(|name| queue(name)).collect();
        let targets: Vec<(PeerQueue, Kind)> = shape
            .targets
            .iter()
            .enumerate()
            .map(|(index, kind)| (queue(&format!("target-{index}")), *kind))
            .collect();
        let credentials = credentials(world, &shape, &names);
        let directory: BTreeMap<PeerQueue, Kind> = names
            .iter()
            .map(|name| (name.clone(), Kind::Authority))
            .chain(targets.iter().cloned())
            .collect();
        let mut sites = Vec::new();
        for name in &names {
            let tables = Arc::new(tables(name, &shape, &directory, &credentials));
            let disk = disk(&shape, name, Kind::Authority);
            let processes = if shape.replicas { 2 } else { 1 };
            for process in 1..=processes {
                sites.push(Site {
                    name: format!("{name}{process}"),
                    queue: name.clone(),
                    kind: Kind::Authority,
                    tracks: Track::ALL.to_vec(),
                    disk: disk.clone(),
                    tables: Some(tables.clone()),
                    ..Site::new(world, &directory)
                });
            }
        }
        for (index, (name, kind)) in targets.iter().enumerate() {
            let directory_of_its_own = || {
                let tables = tables(name, &Shape::calm(), &directory, &[]);
                Arc::new(tables)
            };
            let tracks = if shape.one_track == Some(index) {
                vec![Track::Http]
            } else {
                Track::ALL.to_vec()
            };
            sites.push(Site {
                name: name.to_string(),
                queue: name.clone(),
                kind: *kind,
                tracks,
                disk: disk(&shape, name, *kind),
                tables: (*kind == Kind::Full).then(directory_of_its_own),
                ..Site::new(world, &directory)
            });
        }
        let sites: Vec<Arc<Site>> = sites.into_iter().map(Arc::new).collect();
        for site in &sites {
            site.clock.set(skew(world, shape.clock_ms));
            tokio::spawn(site.clone().keep_alive(shape.clone()));
        }
        Self { world: world.clone(), shape, sites, credentials }
    }

    /// The processes of an authority.
    pub(super) fn authorities(&self) -> impl Iterator<Item = &Arc<Site>> {
        self.sites.iter().filter(|site| site.kind == Kind::Authority)
    }

    pub(super) fn site(&self, queue: &PeerQueue) -> Option<&Arc<Site>> {
        self.sites.iter().find(|site| site.queue == *queue)
    }

    /// Those that a credential can be given to, by name.
    pub(super) fn possible_targets(&self, owned: &Owned) -> Vec<PeerQueue> {
        let mut names: BTreeSet<PeerQueue> = BTreeSet::new();
        for site in &self.sites {
            if owned.is_shared() || !owned.authorities.contains(&site.queue) {
                names.insert(site.queue.clone());
            }
        }
        names.into_iter().collect()
    }

    /// Whether any store has lost anything.
    pub(super) fn has_lost(&self) -> bool {
        self.sites.iter().any(|site| site.disk.losses() > 0)
    }

    /// Whether a store may lack what only another decision, or a long time, brings back: one that refused
    /// something for good, one of a peer that does not tell of its loss or whose word was in a queue that was
    /// deleted, or one of two authorities that no longer know of each other's decisions.
    pub(super) fn lacks_for_good(&self) -> bool {
        let refused = self.sites.iter().any(|site| site.disk.refusals() > 0);
        let untold =
            self.sites.iter().any(|site| site.kind == Kind::Node && site.disk.losses() > 0);
        let unheard = self.shape.shared || self.shape.faults.contains(&Fault::QueueDeleted);
        refused || untold || unheard && self.has_lost()
    }

    pub(super) fn now(&self) -> Instant {
        Instant::now()
    }
}

/// How far off a clock is.
pub(super) fn skew(world: &World, most_ms: u64) -> i64 {
    let mut random = world.random();
    let ms = match random.below(3) {
        0 => 0,
        1 => most_ms,
        _ => random.between(0, most_ms),
    };
    let ms = i64::try_from(ms).unwrap_or(0);
    if random.chance(500) { ms } else { -ms }
}

fn disk(shape: &Shape, name: &PeerQueue, kind: Kind) -> Arc<Disk> {
    let saves = shape.faults.contains(&Fault::StateLosesASecond);
    Arc::new(Disk::new(name.clone(), kind == Kind::Node, saves))
}

#[allow(clippy::unwrap_used, reason = "letters and digits only")]
fn credentials(world: &World, shape: &Shape, authorities: &[PeerQueue]) -> Vec<Owned> {
    let mut random = world.random();
    (0..shape.credentials)
        .map(|index| {
            // Two tracks of one client are two credentials.
            let client = ClientId::new(format!("client-{}", index / 2)).unwrap();
            let key = CredentialKey::new(Track::ALL[index % 2], client);
            let authorities = if shape.shared && index == 0 {
                authorities.to_vec()
            } else {
                vec![random.pick(authorities).clone()]
            };
            Owned { key, authorities }
        })
        .collect()
}

fn tables(
    name: &PeerQueue,
    shape: &Shape,
    directory: &BTreeMap<PeerQueue, Kind>,
    credentials: &[Owned],
) -> Tables {
    let with = |kind: Kind| directory.iter().filter(move |(_, k)| **k == kind).map(|(n, _)| n);
    let shared = credentials.iter().filter(|owned| owned.is_shared());
    let doubtful = shared
        .flat_map(|owned| with(Kind::Node).map(|name| (owned.key.clone(), name.clone())))
        .collect();
    let receive_only = with(Kind::ReceiveOnly).cloned().collect();
    let tables = Tables::new(name.clone(), shape.naive, doubtful, receive_only);
    for (peer, kind) in directory.iter().filter(|(peer, _)| *peer != name) {
        let secret = secret_of(peer);
        if *kind == Kind::ReceiveOnly {
            tables.memory.add_receive_only_target(peer.clone(), secret);
        } else {
            tables.memory.add_target(peer.clone(), secret);
        }
    }
    tables
}

impl Site {
    fn new(world: &Arc<World>, directory: &BTreeMap<PeerQueue, Kind>) -> Self {
        let sources = directory.iter().filter(|(_, kind)| **kind == Kind::Authority);
        Self {
            world: world.clone(),
            name: String::new(),
            queue: queue("nobody"),
            kind: Kind::Full,
            tracks: Vec::new(),
            disk: Arc::new(Disk::new(queue("nobody"), false, false)),
            tables: None,
            clock: SkewedClock::new(world.clone()),
            sources: sources.map(|(name, _)| name.clone()).collect(),
            process: std::sync::Mutex::default(),
            calm: std::sync::atomic::AtomicBool::new(false),
            faultless: std::sync::atomic::AtomicBool::new(false),
            retired: std::sync::atomic::AtomicBool::new(false),
            crash_at: std::sync::atomic::AtomicU64::new(0),
            crashed: std::sync::atomic::AtomicBool::new(false),
        }
    }
}
