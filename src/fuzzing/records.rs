//! Records of stores: what stands there may be old, another implementation's, or damaged.

use std::sync::Arc;

use super::{NOW_MS, Standing, now};
use crate::cursor::Cursor;
use crate::id::{ClientId, CredentialKey, EventId, PeerQueue, Revision, Track};
use crate::ledger::{Claim, ClaimRequest, Currency, InFlight, Ledger, Opened, Timing, Tried};
use crate::management::RowStatus;
use crate::state::{Key, MemoryState, StateStore, Transaction, Write};
use crate::store::{
    Applied, Change, Credential, CredentialStore, Expiry, MemoryCredentialStore, VersionedChange,
};
use crate::verify::{Held, VerifierStore};

/// The first line is a credential, then come a cursor, a revision record, a flight and an event in
/// flight. Whatever stands there, a version that is newer goes in and no older one does, decisions
/// get greater numbers, and what was written reads back.
pub fn records(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let lines: Vec<&str> = text.split('\n').collect();
    let line = |index: usize| lines.get(index).copied().unwrap_or_default();
    if let Some(credential) = Credential::from_stored(line(0)) {
        let written = credential.to_stored();
        assert_eq!(Credential::from_stored(&written), Some(credential));
    }
    if let Ok(cursor) = serde_json::from_str::<Cursor>(line(1)) {
        let written = serde_json::to_string(&cursor).unwrap_or_default();
        let read = serde_json::from_str::<Cursor>(&written).ok();
        assert_eq!(read.as_ref(), Some(&cursor));
        assert_eq!(read.and_then(|read| read.source), cursor.source);
    }
    let Some(names) = Names::new() else { panic!("names of this file are not valid") };
    store_over(&names, line(0), line(1));
    ledger_over(&names, &[line(1), line(2), line(3), line(4)]);
}

struct Names {
    key: CredentialKey,
    target: PeerQueue,
    event: EventId,
    fresh: EventId,
    revision: Revision,
}

impl Names {
    fn new() -> Option<Self> {
        Some(Self {
            key: CredentialKey::new(Track::Http, ClientId::new("webshop").ok()?),
            target: PeerQueue::new("orders").ok()?,
            event: EventId::new("e").ok()?,
            fresh: EventId::new("f").ok()?,
            revision: Revision::new(NOW_MS + 5).ok()?,
        })
    }
}

/// Whether a text is a stored credential. For counting what reading one costs.
#[must_use]
pub fn is_credential(text: &str) -> bool {
    Credential::from_stored(text).is_some()
}

/// A change of a version that came over the wire, onto whatever stands in the store.
fn store_over(names: &Names, record: &str, cursor: &str) {
    let state = MemoryState::new();
    let client_id = names.key.client_id.clone();
    set(&state, Key::field("hmac:http:clients", client_id.as_str()), record);
    set(&state, Key::value(format!("propagation:last-seen:{}", names.key)), cursor);
    let store = MemoryCredentialStore::new(state, Track::Http, "hmac:http");
    let before = now(store.cursor(&client_id)).ok().flatten();
    let old = now(store.get(&client_id)).ok().flatten();
    let version = Cursor {
        ts: names.revision.into(),
        event_id: names.event.clone(),
        source: Some(names.target.clone()),
    };
    let newer = before.as_ref().is_none_or(|before| *before < version);
    let hash = crate::secret::SecretHash::from_digest(&[0xab; 32]);
    let change =
        Change::Put { secret_hash: hash.clone(), allowed_ips: None, expires_at: Expiry::Keep };
    let change = VersionedChange { client_id: client_id.clone(), version: version.clone(), change };
    let applied = now(store.apply(std::slice::from_ref(&change), NOW_MS)).pop();
    match applied {
        Some(Ok(Applied::Changed)) => {
            // The version that the cursor stands at goes in once more where the record is not its own.
            assert!(newer || before.as_ref() == Some(&version));
            let Ok(Some(new)) = now(store.get(&client_id)) else { panic!("nothing was stored") };
            assert_eq!((new.secret_hash, new.updated_at), (hash, NOW_MS));
            if let Some(old) = old {
                let kept = (old.created_at, old.expires_at, old.allowed_ips);
                assert_eq!((new.created_at, new.expires_at, new.allowed_ips), kept);
            }
            assert_eq!(now(store.cursor(&client_id)).ok().flatten(), Some(version));
            let again = now(store.apply(&[change], NOW_MS)).pop();
            assert!(matches!(again, Some(Ok(Applied::Already))));
        }
        Some(Ok(Applied::Already)) => assert_eq!(before, Some(version)),
        Some(Ok(Applied::Stale(held))) => {
            assert_eq!((Some(&held), newer), (before.as_ref(), false))
        }
        other => panic!("{other:?}"),
    }
    let held: Result<Option<Held>, _> = now(VerifierStore::look_up(&store, &client_id, true));
    assert!(held.is_ok_and(|held| held.is_some()) || !newer);
}

/// A decision, its claim and its answer over whatever books there are.
fn ledger_over(names: &Names, [cursor, revision, flight, event]: &[&str; 4]) {
    let state = MemoryState::new();
    let Names { key, target, .. } = names;
    set(&state, Key::value(format!("propagation:last-seen:{key}")), cursor);
    set(&state, Key::value(format!("propagation:revision:{key}")), revision);
    let name = format!("propagation:in-flight:{}:{target}:{}", key.track, key.client_id);
    set(&state, Key::value(name), flight);
    set(&state, Key::value(format!("propagation:ack:{}", names.event)), event);
    let ledger =
        Ledger::new(Arc::new(state), Arc::new(Standing), "propagation".into(), Timing::default());
    known_flight_reads_back(&ledger, names);
    claim(&ledger, names);
    let seen = serde_json::from_str::<Cursor>(cursor).map(|cursor| cursor.ts.as_f64());
    decide(&ledger, names, seen.unwrap_or(0.0));
}

fn known_flight_reads_back(ledger: &Ledger, names: &Names) {
    let known = now(ledger.flights(&[&names.event])).ok().and_then(|mut known| known.pop());
    if let Some(Some(flight)) = known {
        let written = serde_json::to_string(&flight).unwrap_or_default();
        assert_eq!(serde_json::from_str(&written).ok(), Some(flight));
    }
}

/// A row is published under the id that is remembered for it, and is then known and not due again.
fn claim(ledger: &Ledger, names: &Names) {
    let flight = InFlight {
        key: names.key.clone(),
        target: names.target.clone(),
        revision: names.revision,
        receive_only: false,
        removed: false,
        again: false,
        tried: None,
    };
    let row = ClaimRequest {
        flight: flight.clone(),
        status: RowStatus::Pending,
        attempts: 0,
        known_event: None,
        fresh_event: names.fresh.clone(),
    };
    let claimed = now(ledger.claim(std::slice::from_ref(&row))).pop();
    match claimed {
        Some(Ok(Claim::Publish(ticket) | Claim::PublishUnlessQueued(ticket))) => {
            assert!(ticket.attempts > 0 && ticket.retry_at_ms > NOW_MS);
            let known = now(ledger.flights(&[&ticket.event_id])).unwrap_or_default();
            let tried = Some(Tried { attempts: ticket.attempts, at_ms: NOW_MS });
            assert_eq!(known, [Some(InFlight { tried, ..flight })]);
            let again = now(ledger.claim(&[row])).pop();
            assert!(matches!(again, Some(Ok(Claim::NotDue))), "{again:?}");
        }
        Some(Ok(Claim::Answered { .. } | Claim::NotDue | Claim::Busy | Claim::Outdated)) => {}
        other => panic!("{other:?}"),
    }
}

/// A decision's number is greater than the clock and than all that was seen, and is then current.
fn decide(ledger: &Ledger, names: &Names, seen: f64) {
    let opened = now(ledger.open_revision(&names.key, NOW_MS));
    let Ok(Opened::Yes(revision)) = opened else {
        assert!(opened.is_ok(), "{opened:?}");
        return;
    };
    assert!(revision.get() >= NOW_MS);
    assert!(crate::cursor::Timestamp::from(revision).as_f64() > seen, "{revision} after {seen}");
    assert!(matches!(now(ledger.open_revision(&names.key, 0)), Ok(Opened::Busy)));
    assert!(now(ledger.settle_revision(&names.key, revision)).is_ok());
    let currency = now(ledger.currencies(&[(&names.key, revision)])).unwrap_or_default();
    assert!(matches!(currency[..], [Currency::Current | Currency::Outdated]), "{currency:?}");
    match now(ledger.open_revision(&names.key, 0)) {
        Ok(Opened::Yes(next)) => assert!(next > revision),
        Ok(Opened::Exhausted) => assert!(revision.get() == Revision::MAX),
        other => panic!("{other:?}"),
    }
}

fn set(state: &MemoryState, key: Key, value: &str) {
    let transaction = Transaction::default().write(Write::set(key, value));
    assert!(now(state.commit(&[transaction])).is_ok());
}
