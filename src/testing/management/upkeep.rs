//! Targets that lost the store in which they had proved what they hold.

use super::Fixture;
use super::world::{
    LATER, NOW, answered, applied, credentials, delete, directory, ensure, fail, failed, hold, key,
    names, open, open_names, proved, put, queue, reopen, reopening, report, row, send, sent,
    status, succeed,
};
use crate::id::{CredentialKey, Track};
use crate::management::{
    Marked, Outcome, PendingWork, Proof, ReopenRows, Reopened, RowKey, RowStatus, TargetSent,
    TargetSuccess,
};

/// With the event that carries it and the number of attempts; the credential is not reported any more.
pub async fn reopened_rows_are_pending_at_their_revision(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b", "c"]).await;
    ensure(fixture, put("a", 7, '1', &["b", "c"])).await;
    send(fixture, TargetSent { attempts: 3, ..sent("a", "b", 7, "event") }).await;
    for target in ["b", "c"] {
        succeed(fixture, proved("a", target, 7, "lost")).await;
    }
    report(fixture, "a", 7, Outcome::Success).await;
    ensure(fixture, delete("gone", 8, &["b"])).await;
    succeed(fixture, proved("gone", "b", 8, "lost")).await;
    let other = row(fixture, "a", "c").await;
    assert_eq!(reopen(fixture.worker(0), reopening("b", Some("present")), 100).await, 2);
    let opened = row(fixture, "a", "b").await;
    assert_eq!((opened.status, opened.revision), (RowStatus::Pending, 7));
    assert_eq!((opened.event_id.as_deref(), opened.attempts), (Some("event"), 3));
    assert_eq!((opened.proof, opened.store, opened.reason), (None, None, None));
    assert_eq!(row(fixture, "a", "c").await, other);
    let stored = fixture.credential(&key("a")).await.unwrap();
    assert_eq!((stored.revision, stored.deleted, stored.reported), (7, false, None));
    assert_eq!(row(fixture, "gone", "b").await.revision, 8);
    let stored = fixture.credential(&key("gone")).await.unwrap();
    assert_eq!((stored.revision, stored.deleted, stored.reported), (8, true, None));
}

/// It was on its way when the rows were opened again.
pub async fn a_report_that_comes_after_the_reopening_is_ignored(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b"]).await;
    ensure(fixture, put("a", 7, '1', &["b"])).await;
    succeed(fixture, proved("a", "b", 7, "lost")).await;
    assert_eq!(reopen(fixture.worker(0), reopening("b", Some("present")), 100).await, 1);
    report(fixture, "a", 7, Outcome::Success).await;
    assert_eq!(fixture.credential(&key("a")).await.unwrap().reported, None);
    succeed(fixture, proved("a", "b", 7, "present")).await;
    report(fixture, "a", 7, Outcome::Success).await;
    let stored = fixture.credential(&key("a")).await.unwrap();
    assert_eq!(stored.reported, Some(Outcome::Success));
}

/// And their credentials stay reported.
pub async fn rows_that_the_named_store_proved_stay(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b"]).await;
    hold(fixture, "a", "b", "lost").await;
    hold(fixture, "z", "b", "present").await;
    let before = row(fixture, "z", "b").await;
    assert_eq!(before.store.as_deref(), Some("present"));
    assert_eq!(reopen(fixture.worker(0), reopening("b", Some("present")), 100).await, 1);
    assert_eq!(status(fixture, "a", "b").await, RowStatus::Pending);
    assert_eq!(row(fixture, "z", "b").await, before);
    let stored = fixture.credential(&key("z")).await.unwrap();
    assert_eq!(stored.reported, Some(Outcome::Success));
}

/// Nobody knows which store had proved them.
pub async fn rows_without_a_store_are_reopened(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b"]).await;
    ensure(fixture, put("a", 7, '1', &["b"])).await;
    succeed(fixture, applied("a", "b", 7)).await;
    assert_eq!(reopen(fixture.worker(0), reopening("b", Some("present")), 100).await, 1);
    assert_eq!(status(fixture, "a", "b").await, RowStatus::Pending);
}

/// Somebody says that the target has lost all, whatever its store is called.
pub async fn without_a_named_store_all_are_reopened(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b"]).await;
    hold(fixture, "first", "b", "one").await;
    hold(fixture, "second", "b", "another").await;
    ensure(fixture, put("third", 7, '1', &["b"])).await;
    succeed(fixture, applied("third", "b", 7)).await;
    assert_eq!(reopen(fixture.worker(0), reopening("b", None), 100).await, 3);
    for client in ["first", "second", "third"] {
        assert_eq!(status(fixture, client, "b").await, RowStatus::Pending);
    }
}

/// Open rows are asked for anyway; what was refused is not put right by a new store.
pub async fn rows_that_are_no_success_stay(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    for client in ["pending", "sent", "error", "retried"] {
        ensure(fixture, put(client, 7, '1', &["b"])).await;
    }
    send(fixture, sent("sent", "b", 7, "event")).await;
    fail(fixture, failed("error", "b", 7, None)).await;
    report(fixture, "error", 7, Outcome::Error).await;
    fail(fixture, failed("retried", "b", 7, Some(LATER))).await;
    let (before, open) = (all(fixture).await, open_names(fixture, LATER).await);
    for store in [Some("present"), None] {
        assert_eq!(reopen(fixture.worker(0), reopening("b", store), 100).await, 0);
    }
    assert_eq!(all(fixture).await, before);
    assert_eq!(open_names(fixture, LATER).await, open);
    let stored = fixture.credential(&key("error")).await.unwrap();
    assert_eq!(stored.reported, Some(Outcome::Error));
}

async fn all(fixture: &dyn Fixture) -> Vec<super::StoredRow> {
    let mut rows = Vec::new();
    for client in ["pending", "sent", "error", "retried"] {
        rows.push(row(fixture, client, "b").await);
    }
    rows
}

/// Each target has a store of its own for each track.
pub async fn other_targets_and_the_other_track_stay(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b", "bb", "B"]).await;
    let messages = CredentialKey { track: Track::Message, ..key("a") };
    let mut request = put("a", 9, '2', &["b"]);
    request.key = messages.clone();
    ensure(fixture, request).await;
    let answer = RowKey { key: messages.clone(), ..proved("a", "b", 9, "lost").row };
    succeed(fixture, TargetSuccess { row: answer, ..proved("a", "b", 9, "lost") }).await;
    ensure(fixture, put("a", 7, '1', &["b", "bb", "B"])).await;
    for target in ["b", "bb", "B"] {
        succeed(fixture, proved("a", target, 7, "lost")).await;
    }
    assert_eq!(reopen(fixture.worker(0), reopening("b", Some("present")), 1).await, 1);
    let of_messages = fixture.row(&messages, &queue("b")).await.unwrap();
    assert_eq!(of_messages.status, RowStatus::Success);
    for target in ["bb", "B"] {
        assert_eq!(status(fixture, "a", target).await, RowStatus::Success);
    }
    let request = ReopenRows { track: Track::Message, ..reopening("b", Some("present")) };
    assert_eq!(reopen(fixture.worker(0), request, 1).await, 1);
    let of_messages = fixture.row(&messages, &queue("b")).await.unwrap();
    assert_eq!((of_messages.status, of_messages.revision), (RowStatus::Pending, 9));
}

/// Names that a pattern, a quote or a separator of keys would mistake for others.
pub const ODD: [&str; 14] = [
    "a",
    "A",
    "a:b",
    "a:b:c",
    "a ",
    "100%",
    "a_b",
    "it's",
    "\"q\"",
    "[\"x\"]",
    "b\\",
    "\u{e4}",
    "\u{1f600}",
    "?",
];

/// Those that stay are passed over, wherever a page ends.
pub async fn reopening_by_pages_of_any_length_takes_each_row_once(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b"]).await;
    for client in ODD {
        hold(fixture, client, "b", "lost").await;
        hold(fixture, &format!("{client}-stays"), "b", "present").await;
    }
    for limit in [1, 2, 3, ODD.len(), ODD.len() + 1, 100] {
        let request = reopening("b", Some("present"));
        let count = reopen(fixture.worker(0), request, limit).await;
        assert_eq!(count, ODD.len() as u64, "pages of {limit}");
        for client in ODD {
            assert_eq!(status(fixture, client, "b").await, RowStatus::Pending, "{client}");
            let stays = format!("{client}-stays");
            assert_eq!(status(fixture, &stays, "b").await, RowStatus::Success, "{stays}");
            succeed(fixture, proved(client, "b", 7, "lost")).await;
        }
    }
}

/// As a failure that trying again does not mend.
pub async fn a_reopening_token_of_somebody_else_is_refused(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b"]).await;
    hold(fixture, "a", "b", "lost").await;
    let after = Some("\u{0}'nonsense".into());
    let request = ReopenRows { after, ..reopening("b", Some("present")) };
    let error = fixture.worker(0).reopen_rows(request).await.unwrap_err();
    assert!(!error.is_transient());
    assert_eq!(status(fixture, "a", "b").await, RowStatus::Success);
}

/// Nor what is open since the first time.
pub async fn what_the_named_store_has_proved_is_not_reopened_again(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b"]).await;
    hold(fixture, "a", "b", "lost").await;
    hold(fixture, "z", "b", "lost").await;
    let request = || reopening("b", Some("present"));
    assert_eq!(reopen(fixture.worker(0), request(), 100).await, 2);
    assert_eq!(reopen(fixture.worker(1), request(), 100).await, 0);
    succeed(fixture, proved("a", "b", 7, "present")).await;
    report(fixture, "a", 7, Outcome::Success).await;
    let before = row(fixture, "a", "b").await;
    assert_eq!(reopen(fixture.worker(0), request(), 100).await, 0);
    assert_eq!(row(fixture, "a", "b").await, before);
    let stored = fixture.credential(&key("a")).await.unwrap();
    assert_eq!(stored.reported, Some(Outcome::Success));
    assert_eq!(status(fixture, "z", "b").await, RowStatus::Pending);
}

/// The target holds the revision in another store by now. Nothing else of the row changes.
pub async fn a_success_that_comes_again_brings_its_store(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b"]).await;
    ensure(fixture, put("a", 7, '1', &["b"])).await;
    send(fixture, sent("a", "b", 7, "event")).await;
    let settled = Marked::Settled { succeeded: 1, failed: 0 };
    assert_eq!(succeed(fixture, proved("a", "b", 7, "lost")).await, settled);
    let before = row(fixture, "a", "b").await;
    let again = TargetSuccess {
        proof: Proof::ReceiveOnly,
        answered: Some(answered("other", 9)),
        ..proved("a", "b", 7, "present")
    };
    assert_eq!(succeed(fixture, again).await, settled);
    let after = row(fixture, "a", "b").await;
    assert_eq!(after.store.as_deref(), Some("present"));
    assert_eq!(super::StoredRow { store: before.store.clone(), ..after }, before);
    assert_eq!(reopen(fixture.worker(0), reopening("b", Some("present")), 100).await, 0);
    assert_eq!(reopen(fixture.worker(0), reopening("b", Some("lost")), 100).await, 1);
}

/// By the next sync of any worker: no claim from before keeps it away.
pub async fn a_reopened_revision_is_fetched_settles_and_is_reported(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b"]).await;
    for (client, claims, reopens, fetches) in
        [("own", 0, 0, 0), ("claimed", 1, 0, 0), ("other", 0, 0, 1)]
    {
        ensure(fixture, put(client, 7, '1', &["b"])).await;
        assert_eq!(open(fixture.worker(claims), 10, NOW).await.len(), 1, "{client}");
        let answered = Some(answered("event", 2));
        succeed(fixture, TargetSuccess { answered, ..proved(client, "b", 7, "lost") }).await;
        report(fixture, client, 7, Outcome::Success).await;
        let request = reopening("b", Some("present"));
        assert_eq!(reopen(fixture.worker(reopens), request, 10).await, 1, "{client}");
        let work = open(fixture.worker(fetches), 10, NOW).await;
        assert_eq!(names(&work), [format!("{client}>b")]);
        let PendingWork::Deliver(target) = &work[0].work else { panic!("not a delivery") };
        let event = target.event_id.as_ref().map(|id| id.as_str());
        let found = (work[0].revision.get(), target.status, event, target.attempts);
        assert_eq!(found, (7, RowStatus::Pending, Some("event"), 2));
        let management = fixture.worker(fetches);
        let again = TargetSent { attempts: 3, ..sent(client, "b", 7, "event") };
        management.mark_target_sent(&[again]).await.unwrap();
        let opened = row(fixture, client, "b").await;
        assert_eq!((opened.status, opened.attempts), (RowStatus::Sent, 3));
        let settled = Marked::Settled { succeeded: 1, failed: 0 };
        assert_eq!(succeed(fixture, proved(client, "b", 7, "present")).await, settled);
        assert_eq!(open_names(fixture, NOW).await, [format!("{client}!1/0")]);
        report(fixture, client, 7, Outcome::Success).await;
        assert!(open_names(fixture, LATER).await.is_empty());
        let stored = fixture.credential(&key(client)).await.unwrap();
        assert_eq!(stored.reported, Some(Outcome::Success));
    }
}

/// The guard by revision holds for them as for all.
pub async fn after_reopening_marks_of_an_older_revision_change_nothing(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b"]).await;
    hold(fixture, "a", "b", "lost").await;
    ensure(fixture, put("a", 8, '2', &[])).await;
    succeed(fixture, proved("a", "b", 8, "lost")).await;
    assert_eq!(reopen(fixture.worker(0), reopening("b", Some("present")), 100).await, 1);
    let before = row(fixture, "a", "b").await;
    send(fixture, sent("a", "b", 7, "late")).await;
    assert_eq!(succeed(fixture, proved("a", "b", 7, "present")).await, Marked::Stale);
    assert_eq!(fail(fixture, failed("a", "b", 7, None)).await, Marked::Stale);
    report(fixture, "a", 7, Outcome::Success).await;
    assert_eq!(row(fixture, "a", "b").await, before);
    assert_eq!(fixture.credential(&key("a")).await.unwrap().reported, None);
}

/// A store has proved one revision, not the next.
pub async fn a_decision_forgets_the_store(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    hold(fixture, "a", "b", "present").await;
    ensure(fixture, put("a", 8, '2', &[])).await;
    assert_eq!(row(fixture, "a", "b").await.store, None);
    succeed(fixture, applied("a", "b", 8)).await;
    assert_eq!(row(fixture, "a", "b").await.store, None);
}

/// What the trait provides for an adapter that does not have them.
pub async fn callbacks_that_are_not_there_change_nothing(fixture: &dyn Fixture) {
    if fixture.refills() {
        return;
    }
    directory(fixture, &["b"]).await;
    hold(fixture, "a", "b", "lost").await;
    let before = row(fixture, "a", "b").await;
    let management = fixture.worker(0);
    for store in [Some("present"), None] {
        let done = management.reopen_rows(reopening("b", store)).await.unwrap();
        assert_eq!(done, Reopened::default());
    }
    assert!(credentials(management, Track::Http, 10).await.is_empty());
    assert!(management.fetch_peers().await.unwrap().is_empty());
    assert_eq!(row(fixture, "a", "b").await, before);
    let stored = fixture.credential(&key("a")).await.unwrap();
    assert_eq!(stored.reported, Some(Outcome::Success));
}
