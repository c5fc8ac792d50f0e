//! From the first process to the last check.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::mesh::Mesh;
use super::plan::{Crash, Plan, Shape};
use super::random::Random;
use super::workload::{self, Call, Wish};
use super::world::World;
use super::{Report, chaos, report, rest};
use crate::propagator::Rotate;
use crate::secret::ClientSecret;

pub(super) async fn tell(seed: u64, plan: &Plan) -> Report {
    let mut random = Random::new(seed);
    let shape = if plan.crash.is_some() { Shape::calm() } else { Shape::of(&mut random) };
    let world =
        Arc::new(World::new(random, plan.keep_trace, shape.is_quiet() && plan.crash.is_none()));
    world.note(format_args!("{shape:?}"));
    world.set_rates(shape.rates);
    let mesh = Arc::new(Mesh::start(&world, shape));
    if let Some(Crash { peer, at }) = plan.crash
        && let Some(site) = mesh.sites.get(peer)
    {
        site.crash_at.store(at, Ordering::Relaxed);
    }
    // Long enough for every process to have started.
    sleep(Duration::from_millis(1)).await;
    let calls = if plan.crash.is_some() {
        small_story(&mesh).await;
        Vec::new()
    } else {
        random_story(&mesh).await
    };
    if !world.is_violated() {
        rest::come_to_rest(&mesh, calls).await;
    }
    let crashed = plan.crash.is_some_and(|crash| {
        mesh.sites.get(crash.peer).is_some_and(|site| site.crashed.load(Ordering::Relaxed))
    });
    report(&world, crashed)
}

async fn random_story(mesh: &Arc<Mesh>) -> Vec<Call> {
    let faults = tokio::spawn(chaos::run(mesh.clone()));
    let syncs: Vec<_> = mesh
        .authorities()
        .map(|site| tokio::spawn(workload::sync_on(site.clone(), mesh.shape.sync_every_ms)))
        .collect();
    let calls = workload::run(mesh).await;
    let ms = mesh.world.random().between(0, 30_000);
    sleep(Duration::from_millis(ms)).await;
    faults.abort();
    syncs.iter().for_each(JoinHandle::abort);
    calls
}

/// Create, rotate, revoke, each with its sync. A call whose process dies is not made again.
async fn small_story(mesh: &Arc<Mesh>) {
    let Some(owned) = mesh.credentials.first() else { return };
    let Some(authority) = owned.authorities.first() else { return };
    let Ok(secret) = ClientSecret::new("the second secret") else { return };
    let (client, track) = (owned.key.client_id.clone(), owned.key.track);
    let wishes = [
        Wish::Ensure(workload::ensure(mesh, owned).targets(mesh.possible_targets(owned))),
        Wish::Sync,
        Wish::Rotate(Rotate::new(client, secret).track(track)),
        Wish::Sync,
        Wish::Revoke(workload::revoke(mesh, owned)),
        Wish::Sync,
    ];
    for wish in wishes {
        if let Some(Call { fence, task }) = workload::call(mesh, authority, owned, wish) {
            tokio::select! {
                biased;
                () = fence.died() => {}
                _ = timeout(Duration::from_secs(100), task) => {}
            }
        }
        sleep(Duration::from_secs(2)).await;
    }
}
