//! What the stores of peers hold, side by side.

use std::time::Duration;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use futures_util::future::join_all;
use hmac::{Hmac, KeyInit, Mac};
use hmac_propagator::credentials::{Credentials, Listed};
use hmac_propagator::id::{ClientId, Track};
use hmac_propagator::secret::{SecretHash, SecretToken};
use hmac_propagator::store::{CredentialStore, RedisCredentialStore};
use sha2::Sha256;
use tokio::time::{Instant, timeout_at};

use super::access::Who;
use super::age::Age;
use super::form::Form;
use super::show::{self, Shell};
use crate::serve::app::App;
use crate::serve::clock::now_ms;

/// Credentials on a page; a store may give a few more at once.
const ROWS: usize = 100;
/// Questions to one store at a time.
const AT_ONCE: usize = 16;
/// How long one store may take to answer everything.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whose store it is, and how it is reached.
#[derive(Clone, Debug)]
pub(crate) struct PeerStore {
    pub(crate) name: String,
    pub(crate) http: RedisCredentialStore,
    pub(crate) message: RedisCredentialStore,
}

/// Shows which stores hold the same hash, and no more: without the key, which only this process has
/// and only while it runs, nobody can tell a guessed secret from its fingerprint.
pub(crate) struct Fingerprints([u8; 32]);

#[derive(Template)]
#[template(path = "stores.html")]
struct StoresPage {
    shell: Shell,
    peers: Vec<Column>,
    shown: String,
    track: &'static str,
    rows: Vec<Row>,
    fault: Option<String>,
    next: Option<String>,
}

struct Column {
    name: String,
    link: String,
    fault: Option<String>,
}

struct Row {
    client: String,
    cells: Vec<Held>,
    differs: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct Held {
    peer: String,
    /// `None`: nothing is held. Empty: not known.
    fingerprint: Option<String>,
    changed: Option<Age>,
}

/// `GET /page/stores`
pub(crate) async fn show(
    State(app): State<App>,
    visitor: Who,
    RawQuery(query): RawQuery,
) -> Response {
    let wanted = Form::read(query.unwrap_or_default().as_bytes());
    let track: Track = wanted.optional("track", "a track").ok().flatten().unwrap_or_default();
    let stores = &app.page.stores;
    let chosen = wanted.text("peer").and_then(|name| stores.iter().find(|s| s.name == name));
    let Some(chosen) = chosen.or_else(|| stores.first()) else {
        return super::receive_only();
    };
    let after = wanted.exact("after").map(str::to_owned);
    let listed = tokio::time::timeout(PATIENCE, list(chosen.on(track), after)).await;
    let (clients, next, fault) = match listed {
        Ok(Ok((clients, next))) => (clients, next, None),
        Ok(Err(reason)) => (Vec::new(), None, Some(reason)),
        Err(_) => (Vec::new(), None, Some("no answer in time".to_owned())),
    };
    let columns = columns(&app, track, &clients).await;
    let link = |name: &str, after: &str| {
        let query = show::query(&[("track", track.as_str()), ("peer", name), ("after", after)]);
        format!("/page/stores{query}")
    };
    let peers = stores.iter().zip(&columns).map(|(store, column)| Column {
        name: store.name.clone(),
        link: link(&store.name, ""),
        fault: column.as_ref().err().cloned(),
    });
    show::html(&StoresPage {
        shell: Shell::new(&app, visitor.0, "stores"),
        peers: peers.collect(),
        shown: chosen.name.clone(),
        track: track.as_str(),
        rows: rows(stores, &columns, &clients),
        fault,
        next: next.map(|next| link(&chosen.name, &next)),
    })
}

/// Clients of a store, in order, from where the page before ended.
async fn list(
    store: &RedisCredentialStore,
    mut after: Option<String>,
) -> Result<(Vec<ClientId>, Option<String>), String> {
    let credentials = Credentials::new(store.clone(), SecretToken::default());
    let mut found: Vec<ClientId> = Vec::new();
    loop {
        let (page, next): (Vec<Listed>, _) =
            credentials.list(after).await.map_err(|error| error.to_string())?;
        found.extend(page.into_iter().map(|listed| listed.client_id));
        after = next;
        if after.is_none() || found.len() >= ROWS {
            break;
        }
    }
    found.sort();
    found.dedup();
    Ok((found, after))
}

type Looked = Result<Vec<Held>, String>;

/// What each store holds of these clients.
async fn columns(app: &App, track: Track, clients: &[ClientId]) -> Vec<Looked> {
    let mut looking = Vec::with_capacity(app.page.stores.len());
    for store in &app.page.stores {
        looking.push(look(store, track, clients, &app.page.fingerprints));
    }
    join_all(looking).await
}

async fn look(
    store: &PeerStore,
    track: Track,
    clients: &[ClientId],
    fingerprints: &Fingerprints,
) -> Looked {
    let until = Instant::now() + PATIENCE;
    let (credentials, now_ms) = (store.on(track), now_ms());
    let mut held = Vec::with_capacity(clients.len());
    for some in clients.chunks(AT_ONCE) {
        let mut looking = Vec::with_capacity(some.len());
        for client in some {
            looking.push(credentials.get(client));
        }
        let found = timeout_at(until, join_all(looking)).await;
        for found in found.map_err(|_| "no answer in time".to_owned())? {
            let found = found.map_err(|error| error.to_string())?;
            held.push(Held {
                peer: store.name.clone(),
                fingerprint: found.as_ref().map(|found| fingerprints.of(&found.secret_hash)),
                changed: found.map(|found| Age::of(found.updated_at, now_ms)),
            });
        }
    }
    Ok(held)
}

fn rows(stores: &[PeerStore], columns: &[Looked], clients: &[ClientId]) -> Vec<Row> {
    let row = |(index, client): (usize, &ClientId)| {
        let cells: Vec<Held> = stores
            .iter()
            .zip(columns)
            .map(|(store, column)| match column {
                Ok(held) => held[index].clone(),
                Err(_) => {
                    let unknown = Some(String::new());
                    Held { peer: store.name.clone(), fingerprint: unknown, changed: None }
                }
            })
            .collect();
        Row { client: client.to_string(), differs: differ(&cells), cells }
    };
    clients.iter().enumerate().map(row).collect()
}

/// Whether two stores hold different hashes. One that holds nothing need not be a target.
fn differ(cells: &[Held]) -> bool {
    let mut held = cells.iter().filter_map(|cell| cell.fingerprint.as_deref());
    let mut held = held.by_ref().filter(|fingerprint| !fingerprint.is_empty());
    let first = held.next();
    held.any(|other| Some(other) != first)
}

impl PeerStore {
    fn on(&self, track: Track) -> &RedisCredentialStore {
        match track {
            Track::Http => &self.http,
            Track::Message => &self.message,
        }
    }
}

impl Fingerprints {
    /// With a key of this process's own; `None`: no randomness to be had.
    pub(crate) fn new() -> Option<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).ok()?;
        Some(Self(key))
    }

    fn of(&self, hash: &SecretHash) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(hash.expose().as_bytes());
        let digest = mac.finalize().into_bytes();
        digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(digit: &str) -> SecretHash {
        SecretHash::parse(&digit.repeat(64)).unwrap()
    }

    #[test]
    fn a_fingerprint_tells_equal_from_different_within_one_process_only() {
        let (one, other) = (Fingerprints::new().unwrap(), Fingerprints::new().unwrap());
        assert_eq!(one.of(&hash("a")), one.of(&hash("a")));
        assert_ne!(one.of(&hash("a")), one.of(&hash("b")));
        assert_ne!(one.of(&hash("a")), other.of(&hash("a")));
        assert_eq!(one.of(&hash("a")).len(), 8);
    }

    #[test]
    fn only_stores_that_hold_something_can_differ() {
        let held = |fingerprints: &[Option<&str>]| -> Vec<Held> {
            let cell = |fingerprint: &Option<&str>| Held {
                peer: "b".into(),
                fingerprint: fingerprint.map(str::to_owned),
                changed: None,
            };
            fingerprints.iter().map(cell).collect()
        };
        assert!(!differ(&held(&[Some("a"), None, Some("a"), Some("")])));
        assert!(differ(&held(&[Some("a"), None, Some("b")])));
        assert!(!differ(&held(&[None, None])));
    }
}
