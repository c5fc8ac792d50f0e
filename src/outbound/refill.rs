//! Stores that were lost: their holders are asked again for what they had proved, and the own store is
//! filled from the management side.
//!
//! With the own store the books may be gone, and with them what other stores were known. So each peer of the directory
//! is then asked again for one row: its answer names the store that it has, and if that is not the one that
//! proved the other rows, they follow.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use super::doubts::clear_doubts_about;
use super::rows::{change, local_version};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::id::{ClientId, CredentialKey, PeerQueue, Track};
use crate::ledger::{Locality, Refill};
use crate::management::{FetchCredentials, Management, ReopenRows, Reopened, StoredCredential};
use crate::store::{Applied, CredentialStore, VersionedChange};

/// For so long a target without a row that can be asked stays on the list.
const NOTHING_TO_ASK: Duration = Duration::from_secs(600);

/// Books are closed on so many credentials at once.
const AT_ONCE: usize = 64;

/// Works through the list of lost stores. What fails stays on it for the next sync, and keeps nothing
/// else waiting.
pub(super) async fn refill(core: &Core, management: &dyn Management) -> Result<()> {
    for wanted in core.ledger.refills().await? {
        let done = if wanted.holder == core.own {
            restore(core, management, &wanted).await
        } else {
            reopen(core, management, &wanted).await
        };
        match done {
            // A crash before this repeats it: rows that were proved meanwhile stay as they are.
            Ok(true) => core.ledger.refilled(&wanted).await?,
            Ok(false) => {}
            Err(error) => {
                let reason = error.to_string();
                core.hub.emit(Event::Retrying { what: "asking a target again", reason });
            }
        }
    }
    Ok(())
}

/// Opens a target's rows again that its present store has not proved.
async fn reopen(core: &Core, management: &dyn Management, wanted: &Refill) -> Result<bool> {
    let (mut after, mut rows) = (None, 0);
    loop {
        let page = reopen_page(core, management, wanted, after, core.limits.page).await?;
        rows += page.rows;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if rows == 0 && wanted.confirm {
        let asked = probe(core, management, wanted.track, wanted.holder.clone()).await?;
        // What is on its way becomes a success in a moment, and then can be asked.
        return if asked { Ok(true) } else { has_waited(core, wanted).await };
    }
    if rows > 0 {
        let (target, track) = (wanted.holder.clone(), wanted.track);
        core.hub.emit(Event::RowsReopened { target, track, rows });
    }
    Ok(true)
}

async fn reopen_page(
    core: &Core,
    management: &dyn Management,
    wanted: &Refill,
    after: Option<String>,
    limit: usize,
) -> Result<Reopened> {
    let request = ReopenRows {
        target: wanted.holder.clone(),
        track: wanted.track,
        proved_by: wanted.store.clone(),
        after,
        limit,
        now_ms: core.clock.now_ms(),
    };
    Ok(management.reopen_rows(request).await?)
}

/// Has one row asked again: the answer names the store that the holder has. Returns whether there is one.
async fn probe(
    core: &Core,
    management: &dyn Management,
    track: Track,
    holder: PeerQueue,
) -> Result<bool> {
    let any = Refill::of(track, holder, None);
    let mut after = None;
    loop {
        let page = reopen_page(core, management, &any, after, 1).await?;
        if page.rows > 0 {
            let (target, rows) = (any.holder, page.rows);
            core.hub.emit(Event::RowsReopened { target, track, rows });
            return Ok(true);
        }
        after = page.next;
        if after.is_none() {
            return Ok(false);
        }
    }
}

/// Whether a target has had no row to be asked for so long that no answer can be on its way to one.
async fn has_waited(core: &Core, wanted: &Refill) -> Result<bool> {
    let now_ms = core.clock.now_ms();
    let Some(since_ms) = wanted.looked_ms else {
        core.ledger.looked(wanted, now_ms).await?;
        return Ok(false);
    };
    Ok(u128::from(now_ms.saturating_sub(since_ms)) >= NOTHING_TO_ASK.as_millis())
}

/// Fills the own store, and has every peer tell which store it has.
async fn restore(core: &Core, management: &dyn Management, wanted: &Refill) -> Result<bool> {
    if !fill_own(core, management, wanted).await? {
        return Ok(false);
    }
    for holder in management.fetch_peers().await? {
        probe(core, management, wanted.track, holder).await?;
    }
    Ok(true)
}

/// Applies all that was decided here to the own store. Returns whether it is complete: a credential about which a
/// decision is being made waits for the next sync.
async fn fill_own(core: &Core, management: &dyn Management, wanted: &Refill) -> Result<bool> {
    let Some(store) = core.store(wanted.track) else { return Ok(true) };
    let (mut after, mut complete, mut restored) = (None, true, 0);
    loop {
        let (track, limit) = (wanted.track, core.limits.page);
        let request = FetchCredentials { track, after: after.take(), limit };
        let page = management.fetch_credentials(request).await?;
        let named = page.entries.into_iter().filter_map(|entry| usable(wanted, entry)).collect();
        let (filled, all) = fill_page(core, &**store, named).await?;
        restored += filled;
        complete &= all;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if restored > 0 {
        core.hub.emit(Event::OwnStoreRefilled { track: wanted.track, credentials: restored });
    }
    Ok(complete)
}

/// An entry that cannot be read is left out: its rows say so, if it has any.
fn usable(wanted: &Refill, entry: StoredCredential) -> Option<(CredentialKey, StoredCredential)> {
    let client_id = ClientId::new(entry.client_id.as_str()).ok()?;
    Some((CredentialKey::new(wanted.track, client_id), entry))
}

/// Returns how many credentials the store lacked, and whether it was told of all.
async fn fill_page(
    core: &Core,
    store: &dyn CredentialStore,
    named: Vec<(CredentialKey, StoredCredential)>,
) -> Result<(u64, bool)> {
    let read = named.iter().map(|(key, entry)| (key.clone(), entry.revision));
    clear_doubts_about(core, read.collect()).await?;
    let rows: Vec<_> = named.iter().map(|(key, entry)| (key, entry.revision)).collect();
    let localities = core.ledger.localities(&rows).await?;
    let all = localities.iter().all(|locality| *locality != Locality::Undecided);
    let (mut lacking, mut changes) = (Vec::new(), Vec::new());
    for ((key, entry), locality) in named.into_iter().zip(localities) {
        // Whatever the books say, it is applied: they may be kept elsewhere than the credentials.
        let (Locality::Held | Locality::Lacking) = locality else { continue };
        let Ok((_, change)) = change(entry.operation) else { continue };
        let version = local_version(core, &key, entry.revision);
        changes.push(VersionedChange { client_id: key.client_id.clone(), version, change });
        lacking.push((key, entry.revision, locality == Locality::Lacking));
    }
    let (mut restored, mut unknown) = (0, Vec::new());
    for ((key, revision, lacked), applied) in
        lacking.into_iter().zip(core.apply(store, changes).await)
    {
        match applied {
            Ok(applied) => {
                restored += u64::from(applied == Applied::Changed);
                unknown.extend(lacked.then_some((key, revision)));
            }
            Err(error) if error.is_transient() => return Err(error.into()),
            // This one for good; its rows will say so.
            Err(error) => tracing::warn!(%key, "the own store refuses a credential: {error}"),
        }
    }
    let closed = stream::iter(unknown)
        .map(|(key, revision)| async move { core.ledger.settle_revision(&key, revision).await })
        .buffer_unordered(AT_ONCE);
    let closed: Vec<_> = closed.collect().await;
    closed.into_iter().collect::<std::result::Result<Vec<_>, _>>().map_err(Error::from)?;
    Ok((restored, all))
}
