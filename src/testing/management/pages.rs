//! The open work.

use std::collections::BTreeSet;

use super::Fixture;
use super::world::{
    LATER, NOW, applied, delete, directory, ensure, fail, failed, hash, names, open, open_names,
    put, queue, report, restricted, revision, rotate, secret_of, send, sent, succeed,
};
use crate::id::Track;
use crate::management::{FetchPending, Operation, Outcome, PendingWork, RowStatus};
use crate::store::Expiry;

/// Each piece once, whatever the length of the pages; within each kind in the order of the keys.
pub async fn pages_of_any_length_give_all_open_work_once(fixture: &dyn Fixture) {
    directory(fixture, &["b", "c", "d"]).await;
    let mut expected = BTreeSet::new();
    for number in 1..=9 {
        let client = format!("client-{number}");
        // Every third one has no target: it is to be reported.
        let targets: &[&str] = if number % 3 == 0 { &[] } else { &["b", "c", "d"] };
        ensure(fixture, put(&client, number, '1', targets)).await;
        expected.extend(targets.iter().map(|target| format!("{client}>{target}")));
        if targets.is_empty() {
            expected.insert(format!("{client}!0/0"));
        }
    }
    for limit in [1, 2, 3, 5, 20, 21, 22, 100] {
        let found = names(&open(fixture.worker(0), limit, NOW).await);
        let (reports, rows): (Vec<_>, Vec<_>) = found.iter().partition(|name| name.contains('!'));
        assert!(rows.is_sorted() && reports.is_sorted(), "in order: {found:?}");
        let distinct: BTreeSet<String> = found.iter().cloned().collect();
        assert_eq!((distinct.len(), &distinct), (found.len(), &expected), "pages of {limit}");
    }
}

/// Key, revision, operation, target.
pub async fn a_page_tells_all_that_a_delivery_needs(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    fixture.add_target(&queue("r"), &secret_of("r"), true).await;
    let rules: &[&str] = &["10.0.0.0/8"];
    let request = restricted(put("a", 7, 'c', &["b", "r"]), Some(rules), Expiry::At(9));
    ensure(fixture, request).await;
    send(fixture, sent("a", "b", 7, "event")).await;
    let entries = open(fixture.worker(0), 10, LATER).await;
    assert_eq!(names(&entries), ["a>b", "a>r"]);
    let expected = Operation::Put {
        create: true,
        secret_hash: hash('c').expose().to_owned(),
        allowed_ips: Some(vec!["10.0.0.0/8".into()]),
        expires_at: Some(9),
    };
    for (entry, sent) in entries.iter().zip([true, false]) {
        assert_eq!((entry.track, entry.revision), (Track::Http, revision(7)));
        assert!(entry.operation == expected, "the operation is the one that was decided");
        let PendingWork::Deliver(target) = &entry.work else { panic!("not a delivery") };
        assert_eq!(target.propagation_secret, Some(secret_of(&target.queue)));
        assert_eq!(target.receive_only, target.queue == "r");
        let event = target.event_id.as_ref().map(|id| id.as_str());
        let expected =
            if sent { (RowStatus::Sent, Some("event"), 1) } else { (RowStatus::Pending, None, 0) };
        assert_eq!((target.status, event, target.attempts), expected);
    }
    rotate(fixture, "a", 8, 'd').await;
    let entries = open(fixture.worker(0), 10, LATER).await;
    assert!(entries.iter().all(|entry| matches!(&entry.operation,
        Operation::Put { create: false, secret_hash, .. } if secret_hash == hash('d').expose())));
    ensure(fixture, delete("a", 9, &[])).await;
    let entries = open(fixture.worker(0), 10, LATER).await;
    assert!(entries.iter().all(|entry| entry.operation == Operation::Delete));
}

/// A row that waits is left out until its time; a settled one for good.
pub async fn rows_come_back_when_they_are_due_and_not_before(fixture: &dyn Fixture) {
    directory(fixture, &["b", "c", "d", "e", "f"]).await;
    ensure(fixture, put("a", 7, '1', &["b", "c", "d", "e", "f"])).await;
    send(fixture, sent("a", "b", 7, "event")).await;
    fail(fixture, failed("a", "c", 7, Some(LATER))).await;
    fail(fixture, failed("a", "d", 7, None)).await;
    succeed(fixture, applied("a", "e", 7)).await;
    assert_eq!(open_names(fixture, NOW).await, ["a>f"]);
    assert_eq!(open_names(fixture, LATER - 1).await, ["a>f"]);
    assert_eq!(open_names(fixture, LATER).await, ["a>b", "a>c", "a>f"]);
    succeed(fixture, applied("a", "b", 7)).await;
    fail(fixture, failed("a", "c", 7, None)).await;
    succeed(fixture, applied("a", "f", 7)).await;
    assert_eq!(open_names(fixture, LATER).await, ["a!3/2"]);
    report(fixture, "a", 7, Outcome::Partial).await;
    assert!(open_names(fixture, u64::MAX >> 1).await.is_empty());
}

/// As a failure that trying again does not mend.
pub async fn a_token_of_somebody_else_is_refused(fixture: &dyn Fixture) {
    let request =
        FetchPending { after: Some("\u{0}'nonsense".into()), ..FetchPending::first(1, NOW) };
    let error = fixture.worker(0).fetch_pending_propagations(request).await.unwrap_err();
    assert!(!error.is_transient());
}
