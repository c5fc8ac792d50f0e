//! Decisions and syncs at random, side by side, as the services of a mesh make them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::fence::Fence;
use super::mesh::{Mesh, Owned};
use super::site::Site;
use crate::error::{ErrorKind, Result};
use crate::id::{PeerQueue, Revision};
use crate::propagator::{Ensure, Propagator, Revoke, Rotate};
use crate::secret::ClientSecret;
use crate::store::{AllowedIps, Expiry};

/// A call that is under way, and the process that makes it.
pub(super) struct Call {
    pub(super) fence: Arc<Fence>,
    pub(super) task: JoinHandle<()>,
}

#[derive(Clone, Debug)]
pub(super) enum Wish {
    Ensure(Ensure),
    Rotate(Rotate),
    Revoke(Revoke),
    Sync,
}

/// Makes all calls of the run's story.
pub(super) async fn run(mesh: &Arc<Mesh>) -> Vec<Call> {
    let world = &mesh.world;
    let mut calls = Vec::new();
    for _ in 0..mesh.shape.operations {
        let ms = world.random().between(0, mesh.shape.spacing_ms);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        if world.is_violated() {
            break;
        }
        let owned = world.random().pick(&mesh.credentials).clone();
        let authority = world.random().pick(&owned.authorities).clone();
        calls.extend(call(mesh, &authority, &owned, wish(mesh, &owned)));
        // Two authorities that decide at the same moment.
        if owned.is_shared() && world.chance(300) {
            for authority in &owned.authorities {
                calls.extend(call(mesh, authority, &owned, wish(mesh, &owned)));
            }
        }
    }
    calls
}

/// Syncs as a peer does that syncs in the background, for ever.
pub(super) async fn sync_on(site: Arc<Site>, every_ms: u64) {
    if every_ms == 0 {
        return;
    }
    loop {
        let ms = site.world.random().between(1, every_ms);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        let Some(process) = site.process() else { continue };
        let Some(propagator) = process.propagator else { continue };
        // On a task of its own: a call of a process that dies never ends.
        let syncing = tokio::spawn(async move { propagator.sync().await.is_ok() });
        tokio::select! {
            biased;
            () = process.fence.died() => {}
            _ = syncing => {}
        }
    }
}

/// What somebody wants of a credential.
fn wish(mesh: &Mesh, owned: &Owned) -> Wish {
    let world = &mesh.world;
    let kind = world.random().below(100);
    match kind {
        0..30 => Wish::Ensure(ensure(mesh, owned)),
        30..50 => Wish::Rotate(
            Rotate::new(owned.key.client_id.clone(), secret(mesh)).track(owned.key.track),
        ),
        50..62 => Wish::Revoke(revoke(mesh, owned)),
        _ => Wish::Sync,
    }
}

/// Any text; `ClientSecret` refuses only the empty one.
#[allow(clippy::unwrap_used, reason = "not empty")]
fn secret(mesh: &Mesh) -> ClientSecret {
    ClientSecret::new(format!("secret {}", mesh.world.random().next())).unwrap()
}

/// Some of the possible targets; of a shared credential all, so that all peers can agree on it.
fn targets(mesh: &Mesh, owned: &Owned) -> Vec<PeerQueue> {
    let possible = mesh.possible_targets(owned);
    if owned.is_shared() { possible } else { mesh.world.random().some(&possible, 700) }
}

pub(super) fn ensure(mesh: &Mesh, owned: &Owned) -> Ensure {
    let key = &owned.key;
    let mut ensure = Ensure::new(key.client_id.clone(), secret(mesh)).track(key.track);
    let rules: [&[&str]; 3] = [&[], &["10.0.0.0/8"], &["192.0.2.7", "2001:db8::/32"]];
    let mut random = mesh.world.random();
    let chosen = random.pick::<&[&str]>(&rules);
    if random.chance(300)
        && let Ok(rules) = AllowedIps::parse(chosen)
    {
        ensure = ensure.allowed_ips(rules);
    }
    if random.chance(300) {
        let far = super::world::EPOCH_MS + 1_000_000_000_000;
        ensure = ensure.expires_at(*random.pick(&[Expiry::Never, Expiry::At(far)]));
    }
    drop(random);
    with_targets(mesh, owned, ensure)
}

fn with_targets(mesh: &Mesh, owned: &Owned, ensure: Ensure) -> Ensure {
    let authority_itself = |name: &PeerQueue| owned.authorities.contains(name);
    // A shared credential's authorities are targets of one another: each is left out of its own.
    let targets = targets(mesh, owned);
    if owned.is_shared() {
        return ensure.targets(targets);
    }
    ensure.targets(targets.into_iter().filter(|name| !authority_itself(name)))
}

pub(super) fn revoke(mesh: &Mesh, owned: &Owned) -> Revoke {
    let revoke = Revoke::new(owned.key.client_id.clone()).track(owned.key.track);
    if owned.is_shared() { revoke.targets(targets(mesh, owned)) } else { revoke }
}

/// Starts a call at a process of the authority, if one runs.
pub(super) fn call(mesh: &Mesh, authority: &PeerQueue, owned: &Owned, wish: Wish) -> Option<Call> {
    let sites: Vec<_> = mesh.sites.iter().filter(|site| site.queue == *authority).collect();
    let site = (*mesh.world.random().pick(&sites)).clone();
    let process = site.process()?;
    let propagator = process.propagator?;
    let may_be_superseded = owned.is_shared() || mesh.shape.replicas;
    let (fence, owned) = (process.fence.clone(), owned.clone());
    let task = tokio::spawn(async move {
        let fence = process.fence;
        make(&site, &fence, &propagator, &owned, wish, may_be_superseded).await;
    });
    Some(Call { fence, task })
}

/// Makes one call and looks at what it says.
pub(super) async fn make(
    site: &Site,
    fence: &Fence,
    propagator: &Propagator,
    owned: &Owned,
    wish: Wish,
    may_be_superseded: bool,
) {
    let world = &site.world;
    let faultless = site.is_faultless();
    let rotates = matches!(wish, Wish::Rotate(_));
    world.note(format_args!("{} is asked for {} {}", fence.name, wish.name(), owned.key));
    let losses = site.disk.losses();
    let result = match wish.without(&site.queue) {
        Wish::Ensure(ensure) => propagator.ensure(ensure).await.map(|done| Some(done.revision)),
        Wish::Rotate(rotate) => propagator.rotate(rotate).await.map(|done| Some(done.revision)),
        Wish::Revoke(revoke) => propagator.revoke(revoke).await.map(|done| Some(done.revision)),
        Wish::Sync => propagator.sync().await.map(|summary| {
            world.note(format_args!("{}: {summary:?}", fence.name));
            None
        }),
    };
    if fence.is_dead() {
        return;
    }
    match result {
        Ok(Some(revision)) => in_effect(site, owned, revision, losses),
        other => {
            let may =
                May { fail: !faultless, be_unknown: rotates, be_superseded: may_be_superseded };
            judge(site, fence, owned, other, &may);
        }
    }
}

/// A decision that was confirmed is in effect in the own store, or something newer is.
fn in_effect(site: &Site, owned: &Owned, revision: Revision, losses: u64) {
    let Site { world, disk, name, .. } = site;
    world.note(format_args!("{name} decided {} {revision}", owned.key));
    if disk.losses() != losses {
        return;
    }
    let held = disk.cursor(&owned.key);
    if held.is_none_or(|held| held.ts < revision.into()) {
        world.violate(format_args!(
            "{name}: {} {revision} was confirmed and is not in effect here",
            owned.key
        ));
    }
}

/// How a call may end.
struct May {
    /// It met a fault.
    fail: bool,
    /// Its credential need not exist.
    be_unknown: bool,
    /// Somebody else may decide about its credential.
    be_superseded: bool,
}

fn judge(site: &Site, fence: &Fence, owned: &Owned, result: Result<Option<Revision>>, may: &May) {
    let Err(error) = result else { return };
    let Site { world, .. } = site;
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    world.note(format_args!("{}: {}: {error} {cause}", fence.name, owned.key));
    let expected = match error.kind() {
        ErrorKind::UnknownClient => may.be_unknown,
        ErrorKind::Superseded => may.be_superseded,
        ErrorKind::Store | ErrorKind::Management | ErrorKind::Broker | ErrorKind::Closed => {
            may.fail
        }
        _ => false,
    };
    if !expected {
        world.violate(format_args!("{}: {}: {error} {cause}", fence.name, owned.key));
    }
}

impl Wish {
    fn name(&self) -> &'static str {
        match self {
            Self::Ensure(_) => "ensure",
            Self::Rotate(_) => "rotate",
            Self::Revoke(_) => "revoke",
            Self::Sync => "sync",
        }
    }

    /// Without the authority itself among the targets.
    fn without(mut self, own: &PeerQueue) -> Self {
        match &mut self {
            Self::Ensure(Ensure { targets, .. }) => targets.retain(|target| target != own),
            Self::Revoke(revoke) => revoke.targets.retain(|target| target != own),
            Self::Rotate(_) | Self::Sync => {}
        }
        self
    }
}
