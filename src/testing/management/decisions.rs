//! Ensure, rotate, revoke.

use super::Fixture;
use super::world::{
    NOW, delete, directory, ensure, key, open_names, put, queue, report, restricted, revision,
    rotate, rotation, row, secret_of, send, sent, status, with_plain,
};
use crate::id::{ClientId, CredentialKey, Track};
use crate::management::{
    ManagementErrorKind, Outcome, RowStatus, StoredRestrictions, UpsertCredential,
};
use crate::store::{AllowedIps, Expiry};

/// Each target gets a row that is pending at the decision's revision.
pub async fn a_new_credential_has_pending_rows_at_its_revision(fixture: &dyn Fixture) {
    directory(fixture, &["b", "c"]).await;
    let done = ensure(fixture, put("a", 7, '1', &["b", "c"])).await;
    assert!(done.created);
    assert_eq!((done.targets, done.stored), (2, StoredRestrictions::default()));
    let stored = fixture.credential(&key("a")).await.unwrap();
    assert_eq!((stored.revision, stored.deleted, stored.reported), (7, false, None));
    for target in ["b", "c"] {
        let row = row(fixture, "a", target).await;
        assert_eq!((row.revision, row.status, row.attempts), (7, RowStatus::Pending, 0));
        assert_eq!((row.event_id, row.reason, row.proof), (None, None, None));
    }
}

/// Nothing of a decision with an unknown target is stored.
pub async fn an_unknown_target_changes_nothing(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    let request = put("a", 7, '1', &["b", "x"]);
    let error = fixture.worker(0).upsert_credential_with_targets(request).await.unwrap_err();
    assert_eq!(*error.kind(), ManagementErrorKind::UnknownTarget(queue("x")));
    assert_eq!(fixture.credential(&key("a")).await, None);
    assert_eq!(fixture.row(&key("a"), &queue("b")).await, None);
}

/// Targets that are not named stay targets, and get the new revision too.
pub async fn another_ensure_adds_targets_and_reopens_all_rows(fixture: &dyn Fixture) {
    directory(fixture, &["b", "c"]).await;
    ensure(fixture, put("a", 7, '1', &["b"])).await;
    send(fixture, sent("a", "b", 7, "event")).await;
    let done = ensure(fixture, put("a", 8, '2', &["c"])).await;
    assert!(!done.created);
    assert_eq!(done.targets, 2);
    let row = row(fixture, "a", "b").await;
    assert_eq!((row.revision, row.status, row.attempts), (8, RowStatus::Pending, 0));
    assert_eq!(row.event_id, None);
    assert_eq!(open_names(fixture, NOW).await, ["a>b", "a>c"]);
}

/// `None` and `Keep` keep, everything else replaces.
pub async fn restrictions_stay_until_they_are_named(fixture: &dyn Fixture) {
    let rules = |rules: &[&str]| Some(AllowedIps::parse(rules).unwrap());
    let stored = |allowed_ips, expires_at| StoredRestrictions { allowed_ips, expires_at };
    let steps: [(Option<&[&str]>, Expiry, StoredRestrictions); 4] = [
        (Some(&["10.0.0.0/8"]), Expiry::At(9), stored(rules(&["10.0.0.0/8"]), Some(9))),
        (None, Expiry::Keep, stored(rules(&["10.0.0.0/8"]), Some(9))),
        (Some(&[]), Expiry::Never, stored(rules(&[]), None)),
        (None, Expiry::At(11), stored(rules(&[]), Some(11))),
    ];
    for (number, (named, expiry, expected)) in (1..).zip(steps) {
        let done = ensure(fixture, restricted(put("a", number, '1', &[]), named, expiry)).await;
        assert_eq!(done.stored, expected, "after revision {number}");
    }
}

/// An older decision changes nothing and learns the revision that stands.
pub async fn a_decision_that_is_not_newer_is_refused(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    ensure(fixture, put("a", 7, '1', &["b"])).await;
    let stale = ManagementErrorKind::StaleRevision(revision(7));
    for request in [put("a", 6, '2', &["b"]), delete("a", 6, &[])] {
        let error = fixture.worker(0).upsert_credential_with_targets(request).await.unwrap_err();
        assert_eq!(*error.kind(), stale);
    }
    let error = fixture.worker(0).rotate_credential_secret(rotation("a", 6, '2')).await;
    assert_eq!(*error.unwrap_err().kind(), stale);
    assert_eq!(fixture.credential(&key("a")).await.unwrap().revision, 7);
    assert_eq!(row(fixture, "a", "b").await.revision, 7);
}

/// Two authorities that share nothing but the database may take the same revision. What differs in
/// anything but its targets is another decision, and only one of the two can stand.
pub async fn of_one_revision_another_decision_is_refused(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    let rules: &[&str] = &["10.0.0.0/8"];
    let first = restricted(put("a", 7, '1', &["b"]), Some(rules), Expiry::At(9));
    let stored = ensure(fixture, first.clone()).await.stored;
    send(fixture, sent("a", "b", 7, "event")).await;
    let others = [
        put("a", 7, '2', &["b"]),
        restricted(put("a", 7, '1', &["b"]), Some(&["10.0.0.0/9"]), Expiry::At(9)),
        restricted(put("a", 7, '1', &["b"]), Some(&[]), Expiry::At(9)),
        restricted(put("a", 7, '1', &["b"]), Some(rules), Expiry::At(10)),
        restricted(put("a", 7, '1', &["b"]), Some(rules), Expiry::Never),
        delete("a", 7, &["b"]),
    ];
    let stale = ManagementErrorKind::StaleRevision(revision(7));
    for (number, other) in others.into_iter().enumerate() {
        let error = fixture.worker(1).upsert_credential_with_targets(other).await.unwrap_err();
        assert_eq!(*error.kind(), stale, "other decision {number}");
    }
    let error = fixture.worker(1).rotate_credential_secret(rotation("a", 7, '2')).await;
    assert_eq!(*error.unwrap_err().kind(), stale);
    assert_eq!(ensure(fixture, first).await.stored, stored);
    assert_eq!(status(fixture, "a", "b").await, RowStatus::Sent);
    ensure(fixture, delete("a", 8, &[])).await;
    for request in [put("a", 8, '1', &[]), put("a", 8, '2', &["b"])] {
        let error = fixture.worker(1).upsert_credential_with_targets(request).await.unwrap_err();
        assert_eq!(*error.kind(), ManagementErrorKind::StaleRevision(revision(8)));
    }
    assert!(fixture.credential(&key("a")).await.unwrap().deleted);
}

/// Neither does it restore the plain secret that the report has cleared, nor ask for a report again.
pub async fn a_decision_repeated_after_its_report_stays_reported(fixture: &dyn Fixture) {
    let request = with_plain(put("a", 7, '1', &[]), "plain");
    ensure(fixture, request.clone()).await;
    report(fixture, "a", 7, Outcome::Success).await;
    ensure(fixture, request).await;
    let stored = fixture.credential(&key("a")).await.unwrap();
    assert_eq!((stored.keeps_plain_secret, stored.reported), (false, Some(Outcome::Success)));
}

/// Also after a row of it has moved on: that row stays where it is.
pub async fn a_repeated_decision_has_the_same_answer_and_the_same_rows(fixture: &dyn Fixture) {
    directory(fixture, &["b", "c"]).await;
    for (number, created) in [(7, true), (8, false)] {
        let request = put("a", number, '1', &["b", "c"]);
        let first = ensure(fixture, request.clone()).await;
        assert_eq!(first.created, created);
        send(fixture, sent("a", "b", number, "event")).await;
        assert_eq!(ensure(fixture, request).await, first);
        assert_eq!(status(fixture, "a", "b").await, RowStatus::Sent);
        assert_eq!(status(fixture, "a", "c").await, RowStatus::Pending);
    }
    let deletion = delete("a", 9, &["c"]);
    let first = ensure(fixture, deletion.clone()).await;
    assert_eq!(ensure(fixture, deletion).await.targets, first.targets);
}

/// Only the secret is new.
pub async fn a_rotation_keeps_targets_and_restrictions(fixture: &dyn Fixture) {
    directory(fixture, &["b", "c"]).await;
    let rules: &[&str] = &["10.0.0.0/8"];
    let request = restricted(put("a", 7, '1', &["b", "c"]), Some(rules), Expiry::At(9));
    let stored = ensure(fixture, request).await.stored;
    send(fixture, sent("a", "b", 7, "event")).await;
    let rotated = rotate(fixture, "a", 8, '2').await.unwrap();
    assert_eq!((rotated.targets, rotated.stored), (2, stored));
    let row = row(fixture, "a", "b").await;
    assert_eq!((row.revision, row.status, row.event_id), (8, RowStatus::Pending, None));
}

/// Also after a row of it has moved on.
pub async fn a_repeated_rotation_has_the_same_answer(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    ensure(fixture, put("a", 7, '1', &["b"])).await;
    let first = rotate(fixture, "a", 8, '2').await;
    send(fixture, sent("a", "b", 8, "event")).await;
    assert_eq!(rotate(fixture, "a", 8, '2').await, first);
    assert_eq!(status(fixture, "a", "b").await, RowStatus::Sent);
}

/// Neither a credential that never was, nor one that is deleted.
pub async fn what_does_not_exist_is_not_rotated(fixture: &dyn Fixture) {
    assert_eq!(rotate(fixture, "a", 7, '1').await, None);
    ensure(fixture, put("a", 7, '1', &[])).await;
    ensure(fixture, delete("a", 8, &[])).await;
    assert_eq!(rotate(fixture, "a", 9, '2').await, None);
    let stored = fixture.credential(&key("a")).await.unwrap();
    assert_eq!((stored.revision, stored.deleted), (8, true));
}

/// What comes after a deletion is a new credential, on the old targets.
pub async fn a_deletion_keeps_its_targets_and_nothing_else(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    let rules: &[&str] = &["10.0.0.0/8"];
    ensure(fixture, restricted(put("a", 7, '1', &["b"]), Some(rules), Expiry::At(9))).await;
    let done = ensure(fixture, delete("a", 8, &[])).await;
    assert_eq!(done.targets, 1);
    assert!(fixture.credential(&key("a")).await.unwrap().deleted);
    assert_eq!(row(fixture, "a", "b").await.revision, 8);
    let done = ensure(fixture, put("a", 9, '3', &[])).await;
    assert!(done.created);
    // Targets may hold the old allow-list, and keep it if they are told nothing.
    let open = StoredRestrictions { allowed_ips: Some(AllowedIps::default()), expires_at: None };
    assert_eq!((done.targets, done.stored), (1, open));
    assert!(!fixture.credential(&key("a")).await.unwrap().deleted);
}

/// A target may hold it from elsewhere.
pub async fn a_credential_that_never_was_can_be_deleted(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    let done = ensure(fixture, delete("a", 7, &["b"])).await;
    assert_eq!(done.targets, 1);
    assert!(fixture.credential(&key("a")).await.unwrap().deleted);
    assert_eq!(open_names(fixture, NOW).await, ["a>b"]);
}

/// Byte by byte: no case folding, no trimming, and no text is more than text.
pub async fn tracks_and_odd_names_are_kept_apart(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    let odd = [
        "a",
        "A",
        "a ",
        " a",
        "ä",
        "a\u{308}",
        "a'; DROP TABLE hmac_credentials; --",
        "a\"b",
        "a\\",
        "a%",
        "a_",
        "?",
        "$1",
        ":a",
        "\u{1f600}",
        "a:b",
        "null",
        "__proto__",
        "🏴\u{e0067}",
    ];
    for (number, client) in (1..).zip(odd) {
        assert!(ensure(fixture, put(client, number, '1', &["b"])).await.created, "{client}");
    }
    let message = CredentialKey::new(Track::Message, ClientId::new("a").unwrap());
    let request = UpsertCredential { key: message.clone(), ..put("a", 100, '2', &["b"]) };
    assert!(ensure(fixture, request).await.created);
    for (number, client) in (1..).zip(odd) {
        let stored = fixture.credential(&key(client)).await.unwrap();
        assert_eq!(stored.revision, number, "{client}");
        assert_eq!(row(fixture, client, "b").await.revision, number, "{client}");
    }
    assert_eq!(fixture.credential(&message).await.unwrap().revision, 100);
    assert_eq!(open_names(fixture, NOW).await.len(), odd.len() + 1);
}

/// The secrets that answers are signed with.
pub async fn the_directory_gives_secrets_of_known_sources_only(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    let management = fixture.worker(0);
    let known = management.fetch_source_propagation_secret(&queue("b")).await.unwrap();
    assert_eq!(known, Some(secret_of("b")));
    for unknown in ["x", "B"] {
        let found = management.fetch_source_propagation_secret(&queue(unknown)).await.unwrap();
        assert_eq!(found, None, "{unknown}");
    }
}
