//! Calls that end in their midst, as when a process dies: between any two steps of an adapter.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::Fixture;
use super::world::{
    NOW, applied, directory, ensure, failed, hold, key, names, one, open, put, queue, reopen,
    reopening, rotation, row,
};
use crate::management::{Marked, RowStatus};

/// More steps than any call has.
const STEPS: u32 = 400;

/// Lets a future make so many steps and drops it then. Whether it came to its end.
async fn cut_off<T>(future: impl Future<Output = T>, steps: u32) -> bool {
    let mut future = pin!(future);
    let mut left = steps;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

/// It is recorded whole or not at all; repeated, it is recorded.
pub async fn a_decision_cut_off_anywhere_can_be_repeated(fixture: &dyn Fixture) {
    directory(fixture, &["b", "c"]).await;
    for steps in 0..STEPS {
        let client = format!("client-{steps}");
        let request = put(&client, 7, '1', &["b", "c"]);
        let management = fixture.worker(0);
        let ended =
            cut_off(management.upsert_credential_with_targets(request.clone()), steps).await;
        let stored = fixture.credential(&key(&client)).await;
        let rows = fixture.row(&key(&client), &queue("c")).await;
        assert_eq!(stored.is_some(), rows.is_some(), "after {steps} steps");
        let done = fixture.worker(1).upsert_credential_with_targets(request).await.unwrap();
        assert_eq!((done.created, done.targets), (true, 2), "after {steps} steps");
        let rotation = rotation(&client, 8, '2');
        cut_off(management.rotate_credential_secret(rotation.clone()), steps).await;
        let revision = fixture.credential(&key(&client)).await.unwrap().revision;
        assert_eq!(row(fixture, &client, "b").await.revision, revision, "after {steps} steps");
        let done = fixture.worker(1).rotate_credential_secret(rotation).await.unwrap();
        assert_eq!(done.map(|done| done.targets), Some(2), "after {steps} steps");
        if ended {
            return;
        }
    }
    panic!("a decision does not end");
}

/// Rows settle whole or not at all, and nothing that is open is lost.
pub async fn marks_cut_off_anywhere_can_be_repeated(fixture: &dyn Fixture) {
    directory(fixture, &["b", "c"]).await;
    for steps in 0..STEPS {
        let client = format!("client-{steps}");
        ensure(fixture, put(&client, 7, '1', &["b", "c"])).await;
        let management = fixture.worker(0);
        cut_off(open(management, 3, NOW), steps).await;
        let batch = [applied(&client, "b", 7)];
        let ended = cut_off(management.mark_target_success(&batch), steps).await;
        let status = row(fixture, &client, "b").await.status;
        assert!([RowStatus::Pending, RowStatus::Success].contains(&status), "after {steps} steps");
        assert_eq!(one(management.mark_target_success(&batch).await), Marked::Outstanding);
        let last = [failed(&client, "c", 7, None)];
        cut_off(management.mark_target_error(&last), steps).await;
        let settled = Marked::Settled { succeeded: 1, failed: 1 };
        assert_eq!(one(management.mark_target_error(&last).await), settled, "after {steps} steps");
        let open = names(&open(management, 100, NOW).await);
        assert!(open.contains(&format!("{client}!1/1")), "after {steps} steps: {open:?}");
        if ended {
            return;
        }
    }
    panic!("a mark does not end");
}

/// A row and its credential change together; repeated, all are open.
pub async fn a_reopening_cut_off_anywhere_can_be_repeated(fixture: &dyn Fixture) {
    if !fixture.refills() {
        return;
    }
    directory(fixture, &["b"]).await;
    for steps in 0..STEPS {
        let clients = ["a", "c"].map(|name| format!("{name}-{steps}"));
        for client in &clients {
            hold(fixture, client, "b", "lost").await;
        }
        let request = reopening("b", Some("present"));
        let ended = cut_off(reopen(fixture.worker(0), request.clone(), 2), steps).await;
        // The call may go on for a while. In this order it cannot come between.
        for client in &clients {
            let reported = fixture.credential(&key(client)).await.unwrap().reported;
            let status = row(fixture, client, "b").await.status;
            let open = status == RowStatus::Pending;
            assert!(reported.is_some() || open, "after {steps} steps: {status:?}");
        }
        reopen(fixture.worker(1), request, 2).await;
        for client in &clients {
            let reported = fixture.credential(&key(client)).await.unwrap().reported;
            let status = row(fixture, client, "b").await.status;
            assert_eq!((status, reported), (RowStatus::Pending, None), "after {steps} steps");
        }
        if ended {
            return;
        }
    }
    panic!("a reopening does not end");
}
