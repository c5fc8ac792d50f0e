//! Large meshes in which nothing goes wrong: what an event costs must not depend on how many there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::Scale;
use super::mesh::Mesh;
use super::plan::Shape;
use super::random::Random;
use super::rest;
use super::world::World;
use crate::error::Result;
use crate::propagator::{Ensure, Propagator, Rotate};
use crate::secret::ClientSecret;

/// More than an event takes, and what a peer takes by itself.
const STEPS_OF_AN_EVENT: u64 = 1_000;

/// Gives every credential to every target, rotates them all, and counts what the rotation took.
pub(super) async fn measure(targets: usize, credentials: usize) -> Scale {
    let events = (targets * credentials) as u64;
    let most = (events + targets as u64) * STEPS_OF_AN_EVENT;
    let world = Arc::new(World::new(Random::new(1), false, true).lasting(most));
    let mesh = Arc::new(Mesh::start(&world, Shape::large(targets, credentials)));
    // Long enough for every process to have started.
    sleep(Duration::from_millis(1)).await;
    let mut spent = Scale { events, ..Scale::default() };
    let authority = mesh.authorities().next().and_then(|site| site.process()?.propagator);
    if let Some(authority) = authority
        && let Err(error) = rotate_all(&mesh, &authority, &mut spent).await
    {
        world.violate(format_args!("a call fails: {error}"));
    }
    rest::come_to_rest(&mesh, Vec::new()).await;
    spent.violations = world.violations();
    spent
}

async fn rotate_all(mesh: &Arc<Mesh>, authority: &Propagator, spent: &mut Scale) -> Result<()> {
    for owned in &mesh.credentials {
        let (client, track) = (owned.key.client_id.clone(), owned.key.track);
        let ensure = Ensure::new(client, ClientSecret::new("the first secret")?).track(track);
        authority.ensure(ensure.targets(mesh.possible_targets(owned))).await?;
    }
    deliver(authority).await?;
    for owned in &mesh.credentials {
        let (client, track) = (owned.key.client_id.clone(), owned.key.track);
        let secret = ClientSecret::new("the second secret")?;
        authority.rotate(Rotate::new(client, secret).track(track)).await?;
    }
    let before = counts(mesh);
    deliver(authority).await?;
    let after = counts(mesh);
    let [messages, source_state, target_state, management] =
        std::array::from_fn(|index| after[index] - before[index]);
    *spent = Scale { messages, source_state, target_state, management, ..spent.clone() };
    Ok(())
}

/// Syncs until nothing is open.
async fn deliver(authority: &Propagator) -> Result<()> {
    loop {
        let summary = authority.sync().await?;
        if summary.propagations_read == 0 {
            return Ok(());
        }
        sleep(Duration::from_secs(60)).await;
    }
}

/// Messages; calls of the authority's state store, of its targets', and of its management side.
fn counts(mesh: &Mesh) -> [u64; 4] {
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (mut source, mut targets, mut management) = (0, 0, 0);
    for site in &mesh.sites {
        match &site.tables {
            Some(tables) => {
                source += read(&site.disk.calls);
                management += read(&tables.calls);
            }
            None => targets += read(&site.disk.calls),
        }
    }
    [read(&mesh.world.published), source, targets, management]
}
