//! What every [`CredentialStore`] must do.

use futures_util::future::join_all;

use crate::cursor::{Cursor, Timestamp};
use crate::id::{ClientId, EventId, PeerQueue};
use crate::secret::SecretHash;
use crate::store::{
    AllowedIps, Applied, Change, Credential, CredentialStore, Expiry, VersionedChange,
};

/// Checks a credential store that is empty.
///
/// # Panics
/// At the first thing that is not as [`CredentialStore`] says.
pub async fn credential_store_conformance(store: &dyn CredentialStore) {
    let suite = Suite { store };
    suite.an_unknown_client_has_nothing().await;
    suite.only_a_greater_version_changes_anything().await;
    suite.equal_timestamps_are_decided_by_the_event_id().await;
    suite.a_change_keeps_what_it_does_not_name().await;
    suite.a_removal_leaves_its_version_and_nothing_else().await;
    suite.changes_of_one_call_are_applied_in_order().await;
    suite.clients_do_not_touch_each_other().await;
    suite.writers_at_once_end_on_the_highest_version().await;
    suite.all_clients_are_listed().await;
}

struct Suite<'a> {
    store: &'a dyn CredentialStore,
}

/// When the changes are made, in milliseconds since the epoch.
const NOW: u64 = 1_700_000_000_000;

fn client(id: &str) -> ClientId {
    ClientId::new(id).unwrap()
}

fn version(ts: u32, event_id: &str) -> Cursor {
    Cursor {
        ts: Timestamp::new(f64::from(ts)).unwrap(),
        event_id: EventId::new(event_id).unwrap(),
        source: Some(PeerQueue::new("source").unwrap()),
    }
}

fn hash(number: u32) -> SecretHash {
    SecretHash::parse(&format!("{number:064x}")).unwrap()
}

fn put(number: u32) -> Change {
    Change::Put { secret_hash: hash(number), allowed_ips: None, expires_at: Expiry::Keep }
}

fn change(id: &str, version: Cursor, change: Change) -> VersionedChange {
    VersionedChange { client_id: client(id), version, change }
}

impl Suite<'_> {
    async fn apply_at(&self, now_ms: u64, change: VersionedChange) -> Applied {
        self.store.apply(&[change], now_ms).await.remove(0).unwrap()
    }

    async fn apply(&self, change: VersionedChange) -> Applied {
        self.apply_at(NOW, change).await
    }

    async fn get(&self, id: &str) -> Option<Credential> {
        self.store.get(&client(id)).await.unwrap()
    }

    async fn hash(&self, id: &str) -> Option<SecretHash> {
        self.get(id).await.map(|credential| credential.secret_hash)
    }

    async fn cursor(&self, id: &str) -> Option<Cursor> {
        self.store.cursor(&client(id)).await.unwrap()
    }

    async fn an_unknown_client_has_nothing(&self) {
        assert_eq!(self.get("unknown").await, None);
        assert_eq!(self.cursor("unknown").await, None);
        assert!(self.store.apply(&[], NOW).await.is_empty());
    }

    async fn only_a_greater_version_changes_anything(&self) {
        let id = "versions";
        assert_eq!(self.apply(change(id, version(5, "e"), put(1))).await, Applied::Changed);
        let created = self.get(id).await.unwrap();
        assert_eq!((created.created_at, created.updated_at), (NOW, NOW));
        assert_eq!((created.expires_at, created.allowed_ips.len()), (None, 0));
        assert_eq!(self.cursor(id).await, Some(version(5, "e")));

        assert_eq!(self.apply(change(id, version(5, "e"), put(1))).await, Applied::Already);
        let older = self.apply_at(NOW + 9, change(id, version(4, "z"), put(2))).await;
        assert_eq!(older, Applied::Stale(version(5, "e")));
        let older = self.apply_at(NOW + 9, change(id, version(4, "z"), Change::Delete)).await;
        assert_eq!(older, Applied::Stale(version(5, "e")));
        assert_eq!(self.get(id).await, Some(created));
        assert_eq!(self.cursor(id).await, Some(version(5, "e")));

        let newer = self.apply_at(NOW + 9, change(id, version(6, "a"), put(2))).await;
        assert_eq!(newer, Applied::Changed);
        let updated = self.get(id).await.unwrap();
        assert_eq!((updated.created_at, updated.updated_at), (NOW, NOW + 9));
        assert_eq!(updated.secret_hash, hash(2));
        assert_eq!(self.cursor(id).await, Some(version(6, "a")));
    }

    async fn equal_timestamps_are_decided_by_the_event_id(&self) {
        let id = "ties";
        // By bytes: digits, upper case, lower case, beyond ASCII.
        for (number, event_id) in ["1", "10", "2", "B", "a", "ab", "é"].into_iter().enumerate() {
            let number = u32::try_from(number).unwrap();
            let next = change(id, version(5, event_id), put(number));
            assert_eq!(self.apply(next).await, Applied::Changed, "{event_id}");
            assert_eq!(self.hash(id).await, Some(hash(number)));
        }
        let smaller = self.apply(change(id, version(5, "z"), put(99))).await;
        assert_eq!(smaller, Applied::Stale(version(5, "é")));
    }

    async fn a_change_keeps_what_it_does_not_name(&self) {
        let id = "restrictions";
        let restricted = |number, rules: Option<&[&str]>, expires_at| Change::Put {
            secret_hash: hash(number),
            allowed_ips: rules.map(|rules| AllowedIps::parse(rules).unwrap()),
            expires_at,
        };
        let first = restricted(1, Some(&["10.0.0.1"]), Expiry::At(NOW + 1));
        self.apply(change(id, version(1, "e"), first)).await;
        self.apply(change(id, version(2, "e"), put(2))).await;
        let kept = self.get(id).await.unwrap();
        assert_eq!((kept.expires_at, kept.allowed_ips), (Some(NOW + 1), vec!["10.0.0.1".into()]));
        let cleared = restricted(3, Some(&[]), Expiry::Never);
        self.apply(change(id, version(3, "e"), cleared)).await;
        let cleared = self.get(id).await.unwrap();
        assert_eq!((cleared.expires_at, cleared.allowed_ips.len()), (None, 0));
    }

    async fn a_removal_leaves_its_version_and_nothing_else(&self) {
        let id = "removed";
        let expiring = Change::Put {
            secret_hash: hash(1),
            allowed_ips: None,
            expires_at: Expiry::At(NOW + 1),
        };
        self.apply(change(id, version(1, "e"), expiring)).await;
        let removed = self.apply(change(id, version(2, "e"), Change::Delete)).await;
        assert_eq!(removed, Applied::Changed);
        assert_eq!(self.get(id).await, None);
        assert_eq!(self.cursor(id).await, Some(version(2, "e")));
        let older = self.apply(change(id, version(1, "z"), put(1))).await;
        assert_eq!(older, Applied::Stale(version(2, "e")));
        assert_eq!(self.get(id).await, None);
        self.apply_at(NOW + 5, change(id, version(3, "e"), put(2))).await;
        let anew = self.get(id).await.unwrap();
        assert_eq!((anew.created_at, anew.expires_at), (NOW + 5, None));

        let unseen = self.apply(change("never-seen", version(1, "e"), Change::Delete)).await;
        assert_eq!(unseen, Applied::Changed);
        assert_eq!(self.cursor("never-seen").await, Some(version(1, "e")));
    }

    async fn changes_of_one_call_are_applied_in_order(&self) {
        let changes = [
            change("order-a", version(2, "e"), put(2)),
            change("order-b", version(1, "e"), put(1)),
            change("order-a", version(1, "e"), put(1)),
            change("order-a", version(3, "e"), Change::Delete),
            change("order-a", version(3, "e"), Change::Delete),
            change("order-a", version(4, "e"), put(4)),
        ];
        let outcomes: Vec<Applied> = self
            .store
            .apply(&changes, NOW)
            .await
            .into_iter()
            .map(|outcome| outcome.unwrap())
            .collect();
        let stale = Applied::Stale(version(2, "e"));
        let (changed, already) = (Applied::Changed, Applied::Already);
        assert_eq!(
            outcomes,
            [changed.clone(), changed.clone(), stale, changed.clone(), already, changed]
        );
        assert_eq!(self.hash("order-a").await, Some(hash(4)));
        assert_eq!(self.hash("order-b").await, Some(hash(1)));
    }

    async fn clients_do_not_touch_each_other(&self) {
        let ids = ["x", "x:y", "X", " x", "x ", "__proto__", "*", "é", "e\u{301}", "clients"];
        for (number, id) in (1..).zip(ids) {
            self.apply(change(id, version(number, "e"), put(number))).await;
        }
        for (number, id) in (1..).zip(ids) {
            assert_eq!(self.hash(id).await, Some(hash(number)), "{id:?}");
            assert_eq!(self.cursor(id).await, Some(version(number, "e")), "{id:?}");
        }
        self.apply(change("x", version(100, "e"), Change::Delete)).await;
        for (number, id) in (1..).zip(ids).skip(1) {
            assert_eq!(self.hash(id).await, Some(hash(number)), "{id:?}");
        }
    }

    async fn writers_at_once_end_on_the_highest_version(&self) {
        const VERSIONS: u32 = 40;
        let id = "contended";
        // 7 and 40 have no common factor: each version comes once, in no order.
        let writers = (0..VERSIONS).map(|number| {
            let ts = number * 7 % VERSIONS;
            self.apply(change(id, version(ts, "e"), put(ts)))
        });
        let outcomes = join_all(writers).await;
        assert!(outcomes.contains(&Applied::Changed));
        assert_eq!(self.cursor(id).await, Some(version(VERSIONS - 1, "e")));
        assert_eq!(self.hash(id).await, Some(hash(VERSIONS - 1)));
    }

    async fn all_clients_are_listed(&self) {
        let many: Vec<VersionedChange> = (0..700)
            .map(|number| change(&format!("listed-{number}"), version(1, "e"), put(number)))
            .collect();
        self.store.apply(&many, NOW).await;
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = self.store.list(after).await.unwrap();
            found.extend(page);
            after = next;
            if after.is_none() {
                break;
            }
        }
        for expected in many {
            assert!(found.contains(&expected.client_id), "{}", expected.client_id);
        }
        assert!(!found.contains(&client("x")), "a removed client is listed");
    }
}
