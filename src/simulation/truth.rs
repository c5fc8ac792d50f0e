//! The invariant: every target of every credential holds exactly what was decided last, every row says
//! the truth, and nothing is kept that should be gone.

use super::database::{Tables, is_open};
use super::mesh::{Mesh, Owned};
use super::plan::Kind;
use super::site::Site;
use crate::id::{PeerQueue, Revision};
use crate::management::{RowStatus, RowView};

/// Checks a mesh at rest.
pub(super) fn check(mesh: &Mesh) {
    for owned in &mesh.credentials {
        let decided: Vec<(&PeerQueue, Revision)> =
            owned.authorities.iter().filter_map(|name| latest(mesh, owned, name)).collect();
        let Some(newest) = decided.iter().map(|(_, revision)| *revision).max() else { continue };
        for (authority, _) in &decided {
            check_rows(mesh, owned, authority);
        }
        // Of two decisions under one number, all peers prefer the same.
        let winners: Vec<&PeerQueue> =
            decided.iter().filter(|(_, revision)| *revision == newest).map(|(n, _)| *n).collect();
        check_stores(mesh, owned, &winners, newest);
        if let [winner] = winners[..] {
            check_books(mesh, owned, winner, newest);
        }
    }
    for (queue, count) in mesh.world.broker.unsettled() {
        mesh.world.violate(format_args!("{count} messages for {queue} are left"));
    }
}

/// After longer than anything is kept about events in flight.
pub(super) fn check_forgotten(mesh: &Mesh) {
    for site in mesh.authorities() {
        let kept = site.disk.names();
        let left = kept.iter().find(|name| {
            name.starts_with("propagation:in-flight:") || name.starts_with("propagation:ack:")
        });
        if let Some(left) = left {
            mesh.world.violate(format_args!("{}: {left} is never forgotten", site.name));
        }
    }
}

fn tables<'a>(mesh: &'a Mesh, authority: &PeerQueue) -> Option<&'a Tables> {
    mesh.site(authority)?.tables.as_deref()
}

fn latest<'a>(
    mesh: &Mesh,
    owned: &Owned,
    authority: &'a PeerQueue,
) -> Option<(&'a PeerQueue, Revision)> {
    let credential = tables(mesh, authority)?.memory.credential(&owned.key)?;
    Some((authority, credential.revision))
}

fn check_rows(mesh: &Mesh, owned: &Owned, authority: &PeerQueue) {
    let Some(tables) = tables(mesh, authority) else { return };
    let Some(credential) = tables.memory.credential(&owned.key) else { return };
    let (world, key) = (&mesh.world, &owned.key);
    if credential.keeps_plain_secret {
        world.violate(format_args!("{authority}: the plain secret of {key} is kept"));
    }
    for row in tables.memory.rows(key) {
        if row.revision != credential.revision || is_open(&row) {
            world.violate(format_args!("{authority}: {key} is left with {row:?}"));
        }
        if row.status == RowStatus::Error && !may_fail(mesh, owned, &row) {
            world.violate(format_args!("{authority}: {key} failed for no reason: {row:?}"));
        }
    }
}

/// Whether a delivery could not but fail.
fn may_fail(mesh: &Mesh, owned: &Owned, row: &RowView) -> bool {
    let reason = row.reason.as_deref().unwrap_or_default();
    let Some(site) = mesh.site(&row.target) else { return false };
    if !site.holds(owned.key.track) {
        return reason.starts_with("track:");
    }
    let superseded = reason.starts_with("the target holds a newer version");
    let refused = reason.starts_with("ts:") && mesh.shape.clocks_may_refuse();
    let unusable = reason.starts_with("store:") && site.disk.refusals() > 0;
    owned.is_shared() && (superseded || refused || unusable)
}

/// Every store that the newest decision concerns holds it.
fn check_stores(mesh: &Mesh, owned: &Owned, winners: &[&PeerQueue], newest: Revision) {
    let mut concerned: Vec<&PeerQueue> = winners.to_vec();
    let rows: Vec<RowView> = winners
        .iter()
        .filter_map(|winner| tables(mesh, winner))
        .flat_map(|tables| tables.memory.rows(&owned.key))
        .collect();
    concerned.extend(rows.iter().map(|row| &row.target));
    let mut versions = Vec::new();
    for site in concerned.into_iter().filter_map(|name| mesh.site(name)) {
        if !site.holds(owned.key.track) {
            continue;
        }
        if let Err(why) = holds(mesh, site, owned, winners, newest) {
            mesh.world.violate(format_args!("{}: {} {newest}: {why}", site.name, owned.key));
        }
        let held = site.disk.credential(&owned.key);
        versions.push(held.map(|credential| credential.secret_hash));
    }
    versions.dedup();
    if versions.len() > 1 {
        mesh.world.violate(format_args!("the peers do not agree on {}", owned.key));
    }
}

fn holds(
    mesh: &Mesh,
    site: &Site,
    owned: &Owned,
    winners: &[&PeerQueue],
    newest: Revision,
) -> Result<(), String> {
    let cursor = site.disk.cursor(&owned.key).ok_or("it has no cursor")?;
    if cursor.ts != newest.into() {
        return Err(format!("its cursor stands at {}", cursor.ts));
    }
    let held = site.disk.credential(&owned.key);
    let model = mesh.world.model();
    let is_one = winners.iter().any(|winner| {
        let Some(content) = model.decision(winner, &owned.key, newest.get()) else { return false };
        // A Node peer keeps an expiry that should go; two authorities do not know of each other's
        // allow-lists, which a target keeps when it is told of none.
        if site.kind == Kind::Node || owned.is_shared() {
            content.has_hash_of(held.as_ref())
        } else {
            content.is_all_of(held.as_ref())
        }
    });
    is_one.then_some(()).ok_or_else(|| "it holds something else".to_owned())
}

/// The books of the authority whose decision stands say so, and no decision is open in them.
fn check_books(mesh: &Mesh, owned: &Owned, winner: &PeerQueue, newest: Revision) {
    let Some(site) = mesh.site(winner) else { return };
    let books = site.disk.revision(&owned.key).unwrap_or_default();
    let current = books["current"].as_u64() == Some(newest.get());
    if !current || books["local"] != true {
        mesh.world.violate(format_args!("{winner}: {} {newest}: its books say {books}", owned.key));
    }
}
