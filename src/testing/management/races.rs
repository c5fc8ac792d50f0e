//! Two workers at once.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::time::{Instant, sleep};

use super::Fixture;
use super::world::{
    LATER, NOW, applied, directory, ensure, failed, hold, key, names, one, open, proved, put,
    reopen, reopening, row, sent,
};
use crate::management::{ManagementErrorKind, Marked, RowStatus};

/// One of the two sees that it is the last.
pub async fn the_two_last_rows_settled_at_once_are_not_both_outstanding(fixture: &dyn Fixture) {
    directory(fixture, &["b", "c"]).await;
    for round in 0..20 {
        let client = format!("client-{round}");
        ensure(fixture, put(&client, 7, '1', &["b", "c"])).await;
        let (first, second) = ([applied(&client, "b", 7)], [failed(&client, "c", 7, None)]);
        let (first, second) = join(
            fixture.worker(0).mark_target_success(&first),
            fixture.worker(1).mark_target_error(&second),
        )
        .await;
        let answers = [one(first), one(second)];
        assert!(answers.contains(&Marked::Settled { succeeded: 1, failed: 1 }), "{answers:?}");
    }
}

/// Whatever order they come in, and all its rows are at it.
pub async fn of_decisions_at_once_the_newest_stands(fixture: &dyn Fixture) {
    directory(fixture, &["b", "c"]).await;
    for round in 0..10 {
        let client = format!("client-{round}");
        let decisions = (1..=6).map(|number| {
            let worker = fixture.worker(usize::try_from(number % 2).unwrap());
            worker.upsert_credential_with_targets(put(&client, number, '1', &["b", "c"]))
        });
        for answer in join_all(decisions).await {
            if let Err(error) = answer {
                assert!(matches!(error.kind(), ManagementErrorKind::StaleRevision(_)), "{error}");
            }
        }
        assert_eq!(fixture.credential(&key(&client)).await.unwrap().revision, 6);
        for target in ["b", "c"] {
            assert_eq!(row(fixture, &client, target).await.revision, 6);
        }
    }
}

/// Both callers get the answer of the one decision.
pub async fn a_decision_made_twice_at_once_counts_once(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    for round in 0..10 {
        let request = put(&format!("client-{round}"), 7, '1', &["b"]);
        let (first, second) = join(
            fixture.worker(0).upsert_credential_with_targets(request.clone()),
            fixture.worker(1).upsert_credential_with_targets(request),
        )
        .await;
        let first = first.unwrap();
        assert!(first.created);
        assert_eq!(first, second.unwrap());
    }
}

/// Between them two workers get every row, and where pages are claimed, none twice.
pub async fn each_row_is_claimed_by_one_worker(fixture: &dyn Fixture) {
    directory(fixture, &["b", "c"]).await;
    let mut all = BTreeSet::new();
    for round in 0..30 {
        let client = format!("client-{round:02}");
        ensure(fixture, put(&client, 7, '1', &["b", "c"])).await;
        all.extend([format!("{client}>b"), format!("{client}>c")]);
    }
    let (first, second) =
        join(open(fixture.worker(0), 7, NOW), open(fixture.worker(1), 7, NOW)).await;
    let (first, second) = (names(&first), names(&second));
    let both: BTreeSet<String> = first.iter().chain(&second).cloned().collect();
    assert_eq!(both, all);
    let total = if fixture.claim_lease().is_some() { all.len() } else { 2 * all.len() };
    assert_eq!(first.len() + second.len(), total);
    // A worker's own claims do not keep rows from itself.
    assert_eq!(names(&open(fixture.worker(0), 7, NOW).await), first);
}

/// Once another worker took a row, what the first one did not finish does not count.
pub async fn a_worker_that_stalled_cannot_overwrite(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    ensure(fixture, put("a", 7, '1', &["b"])).await;
    let (stalled, other) = (fixture.worker(0), fixture.worker(1));
    assert_eq!(open(stalled, 10, NOW).await.len(), 1);
    let lease = fixture.claim_lease().unwrap_or_default();
    let until = Instant::now() + lease + Duration::from_secs(10);
    while open(other, 10, NOW).await.is_empty() {
        assert!(Instant::now() < until, "the claim does not end");
        sleep(Duration::from_millis(20)).await;
    }
    other.mark_target_sent(&[sent("a", "b", 7, "event of the other")]).await.unwrap();
    if fixture.claim_lease().is_some() {
        let before = row(fixture, "a", "b").await;
        stalled.mark_target_sent(&[sent("a", "b", 7, "event of the stalled")]).await.unwrap();
        let failure = [failed("a", "b", 7, Some(LATER))];
        assert_eq!(one(stalled.mark_target_error(&failure).await), Marked::Outstanding);
        assert_eq!(row(fixture, "a", "b").await, before);
    }
    // What a target answers counts, whoever receives it; and nothing comes after a newer revision.
    ensure(fixture, put("a", 8, '2', &[])).await;
    assert_eq!(one(stalled.mark_target_success(&[applied("a", "b", 7)]).await), Marked::Stale);
    stalled.mark_target_sent(&[sent("a", "b", 7, "event of the stalled")]).await.unwrap();
    assert_eq!(row(fixture, "a", "b").await.status, RowStatus::Pending);
    let settled = Marked::Settled { succeeded: 1, failed: 0 };
    assert_eq!(one(stalled.mark_target_success(&[applied("a", "b", 8)]).await), settled);
}

/// Between them they take each page once, and each row is counted by the one that opened it.
pub async fn two_workers_reopen_each_row_once(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b"]).await;
    for round in 0..30 {
        hold(fixture, &format!("client-{round:02}"), "b", "lost").await;
    }
    let request = reopening("b", Some("present"));
    let (first, second) = join(
        reopen(fixture.worker(0), request.clone(), 7),
        reopen(fixture.worker(1), request.clone(), 5),
    )
    .await;
    assert_eq!(first + second, 30);
    for round in 0..30 {
        let row = row(fixture, &format!("client-{round:02}"), "b").await;
        assert_eq!(row.status, RowStatus::Pending);
    }
}

/// Whichever of the two comes first.
pub async fn an_answer_out_of_the_new_store_outlasts_a_reopening_at_once(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b"]).await;
    for round in 0..20 {
        let client = format!("client-{round}");
        hold(fixture, &client, "b", "lost").await;
        let answer = [proved(&client, "b", 7, "present")];
        let (marked, _) = join(
            fixture.worker(0).mark_target_success(&answer),
            reopen(fixture.worker(1), reopening("b", Some("present")), 3),
        )
        .await;
        assert_eq!(one(marked), Marked::Settled { succeeded: 1, failed: 0 });
        let row = row(fixture, &client, "b").await;
        assert_eq!((row.status, row.store.as_deref()), (RowStatus::Success, Some("present")));
    }
}
