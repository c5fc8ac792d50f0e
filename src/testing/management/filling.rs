//! What the own store is filled with, and who is told when it was lost.

use std::collections::{BTreeMap, BTreeSet};

use super::Fixture;
use super::upkeep::ODD;
use super::world::{
    NOW, credentials, delete, directory, ensure, hash, hold, key, open_names, put, queue,
    restricted, revision, rotate, row, secret_of,
};
use crate::id::{CredentialKey, Track};
use crate::management::{FetchCredentials, Operation, StoredCredential};
use crate::store::Expiry;

/// What was created, changed and deleted, with all that restricts it.
pub async fn every_credential_of_a_track_is_given_with_its_operation(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b"]).await;
    let rules: &[&str] = &["10.0.0.0/8", "192.168.0.1"];
    let request = restricted(put("created", 3, 'c', &["b"]), Some(rules), Expiry::At(NOW));
    ensure(fixture, request).await;
    ensure(fixture, put("updated", 4, 'd', &["b"])).await;
    rotate(fixture, "updated", 5, 'e').await;
    ensure(fixture, restricted(put("bare", 6, 'f', &[]), Some(&[]), Expiry::Never)).await;
    ensure(fixture, put("deleted", 7, '1', &["b"])).await;
    ensure(fixture, delete("deleted", 8, &[])).await;
    let mut of_messages = put("created", 9, '9', &[]);
    of_messages.key = CredentialKey { track: Track::Message, ..key("created") };
    ensure(fixture, of_messages).await;
    let operation = |create, digit, rules: Option<&[&str]>, expires_at| Operation::Put {
        create,
        secret_hash: hash(digit).expose().to_owned(),
        allowed_ips: rules.map(|rules| rules.iter().map(|&rule| rule.to_owned()).collect()),
        expires_at,
    };
    let expected = [
        ("bare", 6, operation(true, 'f', Some(&[]), None)),
        ("created", 3, operation(true, 'c', Some(rules), Some(NOW))),
        ("deleted", 8, Operation::Delete),
        ("updated", 5, operation(false, 'e', None, None)),
    ];
    let found = by_client(credentials(fixture.worker(0), Track::Http, 100).await);
    assert_eq!(found.len(), expected.len());
    for (client, number, operation) in expected {
        let entry = &found[client];
        assert_eq!(entry.revision, revision(number), "{client}");
        assert!(entry.operation == operation, "{client}: the operation is another one");
    }
    let found = by_client(credentials(fixture.worker(0), Track::Message, 100).await);
    assert_eq!(found.len(), 1);
    assert!(found["created"].operation == operation(true, '9', None, None));
}

/// Under their names as they are, wherever a page ends.
pub async fn pages_of_any_length_give_all_credentials_once(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    for client in ODD {
        ensure(fixture, put(client, 7, '1', &[])).await;
    }
    let expected: BTreeSet<&str> = ODD.into();
    for limit in [1, 2, 3, ODD.len(), ODD.len() + 1, 100] {
        let found = by_client(credentials(fixture.worker(0), Track::Http, limit).await);
        let found: BTreeSet<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(found, expected, "pages of {limit}");
    }
    assert!(credentials(fixture.worker(0), Track::Message, 3).await.is_empty());
}

/// Each once.
fn by_client(entries: Vec<StoredCredential>) -> BTreeMap<String, StoredCredential> {
    let mut found = BTreeMap::new();
    for entry in entries {
        let twice = found.insert(entry.client_id.clone(), entry);
        assert!(twice.is_none(), "given twice: {twice:?}");
    }
    found
}

/// It is reading: what is open and what is settled stays so.
pub async fn fetching_credentials_changes_nothing(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    hold(fixture, "a", "b", "present").await;
    ensure(fixture, put("z", 7, '1', &["b"])).await;
    let (stored, before) = (fixture.credential(&key("a")).await, row(fixture, "a", "b").await);
    credentials(fixture.worker(1), Track::Http, 1).await;
    assert_eq!(fixture.credential(&key("a")).await, stored);
    assert_eq!(row(fixture, "a", "b").await, before);
    assert_eq!(open_names(fixture, NOW).await, ["z>b"]);
}

/// As a failure that trying again does not mend.
pub async fn a_credentials_token_of_somebody_else_is_refused(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    let after = Some("\u{0}'nonsense".into());
    let request = FetchCredentials { track: Track::Http, after, limit: 1 };
    let error = fixture.worker(0).fetch_credentials(request).await.unwrap_err();
    assert!(!error.is_transient());
}

/// Also those that are no target of any credential, and those that cannot sign.
pub async fn the_peers_are_those_of_the_directory(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    assert!(fixture.worker(0).fetch_peers().await.unwrap().is_empty());
    directory(fixture, &["b", "c", "B"]).await;
    fixture.add_target(&queue("r"), &secret_of("r"), true).await;
    ensure(fixture, put("a", 7, '1', &["b"])).await;
    let mut peers = fixture.worker(1).fetch_peers().await.unwrap();
    peers.sort();
    assert_eq!(peers, ["B", "b", "c", "r"].map(queue));
}
