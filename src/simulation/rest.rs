//! Faults stop: the mesh comes to rest, and must be as it was decided.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::database::{is_open, outcome};
use super::mesh::Mesh;
use super::plan::{Kind, Rates};
use super::truth;
use super::workload::{self, Call, Wish};
use crate::id::PeerQueue;
use crate::propagator::Rotate;
use crate::secret::ClientSecret;

/// Longer than any fault lasts, and than any call takes that met one.
const OVER: Duration = Duration::from_secs(90);

/// Most syncs until nothing is open: the waits between them reach the longest that the pipelines
/// wait themselves.
const ROUNDS: u32 = 28;

/// Longer than any record of an event in flight lives.
const FORGOTTEN: Duration = Duration::from_secs(91 * 24 * 3600);

pub(super) async fn come_to_rest(mesh: &Arc<Mesh>, calls: Vec<Call>) {
    let Mesh { world, shape, .. } = &**mesh;
    world.note(format_args!("faults stop"));
    world.set_rates(Rates::default());
    for site in &mesh.sites {
        site.calm.store(true, Ordering::Relaxed);
        if let Some(process) = site.process() {
            process.fence.never_crash();
            process.fence.pause_until(mesh.now());
        }
    }
    sleep(OVER).await;
    mesh.sites.iter().for_each(|site| site.faultless.store(true, Ordering::Relaxed));
    for Call { fence, task } in calls {
        // A call that its process took with it never ends.
        if !fence.is_dead() && timeout(OVER, task).await.is_err() && !fence.is_dead() {
            world.violate(format_args!("{}: a call does not end", fence.name));
        }
    }
    settle(mesh).await;
    if world.is_violated() {
        return;
    }
    // A store that forgot the other authority's decisions, or refused them for good, cannot number its own above them:
    // time must.
    let unequal = shape.shared && (mesh.has_lost() || mesh.lacks_for_good());
    if shape.clocks_may_refuse() || unequal {
        mesh.sites.iter().for_each(|site| site.clock.set(0));
        let wait = Duration::from_millis(4 * shape.clock_ms);
        // Nothing is open: they would only look at their stores all the time.
        for process in mesh.sites.iter().filter_map(|site| site.process()) {
            process.fence.pause_until(mesh.now() + wait);
        }
        sleep(wait).await;
    }
    if mesh.lacks_for_good() || shape.clocks_may_refuse() || shape.decide_at_the_end {
        decide_anew(mesh).await;
        settle(mesh).await;
    }
    truth::check(mesh);
    // What still looks at its stores would do so a million times.
    mesh.sites.iter().for_each(|site| site.retire());
    sleep(FORGOTTEN).await;
    truth::check_forgotten(mesh);
}

/// Syncs until nothing is open any more.
async fn settle(mesh: &Arc<Mesh>) {
    let world = &mesh.world;
    let mut wait = Duration::from_secs(1);
    for _ in 0..ROUNDS {
        for site in mesh.authorities() {
            let Some(process) = site.process() else { continue };
            let Some(propagator) = process.propagator else { continue };
            match timeout(OVER, propagator.sync()).await {
                Ok(Ok(summary)) => world.note(format_args!("{}: {summary:?}", site.name)),
                Ok(Err(error)) => world.note(format_args!("{}: {error}", site.name)),
                Err(_) => world.violate(format_args!("{}: a sync does not end", site.name)),
            }
        }
        sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(3700));
        if world.is_violated() || is_settled(mesh) {
            return;
        }
    }
    let open = open_work(mesh);
    world.violate(format_args!("it does not come to rest: {open:?}"));
}

fn is_settled(mesh: &Mesh) -> bool {
    let wanted = mesh.authorities().any(|site| site.disk.wants_refills());
    !wanted && mesh.world.broker.unsettled().is_empty() && open_work(mesh).is_empty()
}

/// Rows that are open, and credentials that are not reported as they are.
fn open_work(mesh: &Mesh) -> Vec<String> {
    let mut open = Vec::new();
    for site in mesh.authorities() {
        let Some(tables) = &site.tables else { continue };
        for owned in &mesh.credentials {
            let Some(credential) = tables.memory.credential(&owned.key) else { continue };
            let rows = tables.memory.rows(&owned.key);
            open.extend(rows.iter().filter(|row| is_open(row)).map(|row| format!("{row:?}")));
            if credential.reported != Some(outcome(&rows)) {
                open.push(format!("{}: {credential:?}", owned.key));
            }
        }
    }
    open
}

/// One more decision about each credential. Now that nothing goes wrong, it must succeed.
async fn decide_anew(mesh: &Arc<Mesh>) {
    for owned in &mesh.credentials {
        let Some(authority) = owned.authorities.first() else { continue };
        let wish = new_wish(mesh, owned, authority);
        let decided = workload::call(mesh, authority, owned, wish);
        let Some(Call { fence, task }) = decided else {
            mesh.world.violate(format_args!("{authority} does not run"));
            continue;
        };
        if timeout(2 * OVER, task).await.is_err() {
            mesh.world.violate(format_args!("{}: a decision does not end", fence.name));
        }
    }
}

fn new_wish(mesh: &Mesh, owned: &super::mesh::Owned, authority: &PeerQueue) -> Wish {
    let tables = mesh.site(authority).and_then(|site| site.tables.as_ref());
    let held = tables.and_then(|tables| tables.memory.credential(&owned.key));
    let exists = held.is_some_and(|held| !held.deleted);
    let chosen = mesh.world.random().below(3);
    match chosen {
        0 => Wish::Revoke(workload::revoke(mesh, owned)),
        1 if exists && !owned.is_shared() => {
            // Not empty, so it is accepted.
            let Ok(secret) = ClientSecret::new("the last secret") else {
                return Wish::Sync;
            };
            let client = owned.key.client_id.clone();
            Wish::Rotate(Rotate::new(client, secret).track(owned.key.track))
        }
        _ => Wish::Ensure(workload::ensure(mesh, owned)),
    }
}

impl super::site::Site {
    pub(super) fn is_faultless(&self) -> bool {
        self.faultless.load(Ordering::Relaxed)
    }

    /// Whether it can hold a credential of that track.
    pub(super) fn holds(&self, track: crate::id::Track) -> bool {
        self.kind == Kind::Node || self.tracks.contains(&track)
    }
}
