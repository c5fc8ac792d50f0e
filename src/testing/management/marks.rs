//! What becomes of rows.

use super::Fixture;
use super::world::{
    LATER, answered, applied, directory, ensure, fail, failed, key, one, open_names, put, queue,
    rotate, row, send, sent, status, succeed,
};
use crate::management::{Marked, Proof, RowStatus, TargetError, TargetSent, TargetSuccess};

async fn two_rows(fixture: &dyn Fixture) {
    directory(fixture, &["b", "c"]).await;
    ensure(fixture, put("a", 7, '1', &["b", "c"])).await;
}

/// With the numbers of both ends.
pub async fn the_last_settled_row_settles_the_revision(fixture: &dyn Fixture) {
    two_rows(fixture).await;
    send(fixture, sent("a", "b", 7, "event")).await;
    assert_eq!(succeed(fixture, applied("a", "b", 7)).await, Marked::Outstanding);
    let settled = Marked::Settled { succeeded: 1, failed: 1 };
    assert_eq!(fail(fixture, failed("a", "c", 7, None)).await, settled);
    let good = row(fixture, "a", "b").await;
    assert_eq!(
        (good.status, good.proof, good.reason),
        (RowStatus::Success, Some(Proof::Signed), None)
    );
    let bad = row(fixture, "a", "c").await;
    assert_eq!((bad.status, bad.reason.as_deref()), (RowStatus::Error, Some("refused")));
}

/// In any status, older and newer.
pub async fn marks_of_another_revision_change_nothing(fixture: &dyn Fixture) {
    directory(fixture, &["pending", "sent", "success", "error", "retry"]).await;
    let all = ["pending", "sent", "success", "error", "retry"];
    ensure(fixture, put("a", 6, '1', &all)).await;
    rotate(fixture, "a", 7, '2').await;
    send(fixture, sent("a", "sent", 7, "event")).await;
    succeed(fixture, applied("a", "success", 7)).await;
    fail(fixture, failed("a", "error", 7, None)).await;
    fail(fixture, failed("a", "retry", 7, Some(LATER))).await;
    for target in all {
        let before = row(fixture, "a", target).await;
        for number in [6, 8] {
            send(fixture, sent("a", target, number, "other")).await;
            assert_eq!(succeed(fixture, applied("a", target, number)).await, Marked::Stale);
            assert_eq!(fail(fixture, failed("a", target, number, None)).await, Marked::Stale);
            let retry = failed("a", target, number, Some(LATER));
            assert_eq!(fail(fixture, retry).await, Marked::Stale);
        }
        assert_eq!(row(fixture, "a", target).await, before, "{target}");
    }
}

/// Unknown client, unknown target.
pub async fn rows_that_do_not_exist_are_stale(fixture: &dyn Fixture) {
    two_rows(fixture).await;
    for (client, target) in [("x", "b"), ("a", "x")] {
        send(fixture, sent(client, target, 7, "event")).await;
        assert_eq!(succeed(fixture, applied(client, target, 7)).await, Marked::Stale);
        assert_eq!(fail(fixture, failed(client, target, 7, None)).await, Marked::Stale);
        assert_eq!(fixture.row(&key(client), &queue(target)).await, None);
    }
}

/// The proof of a target outlasts what comes late.
pub async fn a_success_stays_a_success(fixture: &dyn Fixture) {
    two_rows(fixture).await;
    succeed(fixture, applied("a", "b", 7)).await;
    let before = row(fixture, "a", "b").await;
    send(fixture, sent("a", "b", 7, "event")).await;
    fail(fixture, failed("a", "b", 7, None)).await;
    fail(fixture, failed("a", "b", 7, Some(LATER))).await;
    assert_eq!(row(fixture, "a", "b").await, before);
    let settled = Marked::Settled { succeeded: 2, failed: 0 };
    assert_eq!(succeed(fixture, applied("a", "c", 7)).await, settled);
}

/// The answer of a target may be faster than the mark that its event was sent.
pub async fn a_late_sent_does_not_open_what_is_settled(fixture: &dyn Fixture) {
    two_rows(fixture).await;
    fail(fixture, failed("a", "b", 7, None)).await;
    let before = row(fixture, "a", "b").await;
    send(fixture, sent("a", "b", 7, "event")).await;
    assert_eq!(row(fixture, "a", "b").await, before);
    let settled = Marked::Settled { succeeded: 1, failed: 1 };
    assert_eq!(succeed(fixture, applied("a", "c", 7)).await, settled);
}

/// Then what the mark would have said comes with the answer; what is recorded already stays.
pub async fn an_answer_brings_what_was_not_recorded_as_sent(fixture: &dyn Fixture) {
    two_rows(fixture).await;
    let answered = |event: &str, attempts| Some(answered(event, attempts));
    let first = TargetSuccess { answered: answered("first", 2), ..applied("a", "b", 7) };
    succeed(fixture, first).await;
    let refused = TargetError { answered: answered("second", 1), ..failed("a", "c", 7, None) };
    fail(fixture, refused).await;
    for (target, event, attempts) in [("b", "first", 2), ("c", "second", 1)] {
        let row = row(fixture, "a", target).await;
        assert_eq!((row.event_id.as_deref(), row.attempts), (Some(event), attempts));
    }
    ensure(fixture, put("a", 8, '2', &[])).await;
    send(fixture, TargetSent { attempts: 3, ..sent("a", "b", 8, "third") }).await;
    let late = TargetSuccess { answered: answered("other", 1), ..applied("a", "b", 8) };
    succeed(fixture, late).await;
    let row = row(fixture, "a", "b").await;
    assert_eq!((row.event_id.as_deref(), row.attempts), (Some("third"), 3));
}

/// Times may lie beyond what a signed column holds: that is as good as never.
pub async fn a_time_beyond_all_bounds_is_never(fixture: &dyn Fixture) {
    two_rows(fixture).await;
    send(fixture, TargetSent { retry_at_ms: u64::MAX, ..sent("a", "b", 7, "event") }).await;
    fail(fixture, failed("a", "c", 7, Some(u64::MAX))).await;
    assert!(open_names(fixture, LATER).await.is_empty());
    assert_eq!(status(fixture, "a", "b").await, RowStatus::Sent);
    assert_eq!(succeed(fixture, applied("a", "b", 7)).await, Marked::Outstanding);
}

/// The target was mended.
pub async fn a_success_may_follow_an_error(fixture: &dyn Fixture) {
    two_rows(fixture).await;
    fail(fixture, failed("a", "b", 7, None)).await;
    let settled = Marked::Settled { succeeded: 1, failed: 1 };
    assert_eq!(succeed(fixture, applied("a", "c", 7)).await, settled);
    let receive_only = TargetSuccess { proof: Proof::ReceiveOnly, ..applied("a", "b", 7) };
    let settled = Marked::Settled { succeeded: 2, failed: 0 };
    assert_eq!(succeed(fixture, receive_only).await, settled);
    let mended = row(fixture, "a", "b").await;
    assert_eq!((mended.status, mended.reason), (RowStatus::Success, None));
    assert_eq!(mended.proof, Some(Proof::ReceiveOnly));
}

/// The target's answer came while its event was still being sent.
pub async fn a_settled_error_is_not_opened_again(fixture: &dyn Fixture) {
    two_rows(fixture).await;
    fail(fixture, failed("a", "b", 7, None)).await;
    let before = row(fixture, "a", "b").await;
    send(fixture, sent("a", "b", 7, "event")).await;
    assert_eq!(fail(fixture, failed("a", "b", 7, Some(LATER))).await, Marked::Outstanding);
    assert_eq!(row(fixture, "a", "b").await, before);
    let settled = Marked::Settled { succeeded: 1, failed: 1 };
    assert_eq!(succeed(fixture, applied("a", "c", 7)).await, settled);
}

/// It does not count as failed before it is given up, and may be sent again.
pub async fn an_error_to_be_retried_is_outstanding(fixture: &dyn Fixture) {
    two_rows(fixture).await;
    succeed(fixture, applied("a", "c", 7)).await;
    assert_eq!(fail(fixture, failed("a", "b", 7, Some(LATER))).await, Marked::Outstanding);
    assert_eq!(status(fixture, "a", "b").await, RowStatus::Error);
    let again = TargetSent { attempts: 2, ..sent("a", "b", 7, "event") };
    send(fixture, again).await;
    let row = row(fixture, "a", "b").await;
    assert_eq!((row.status, row.attempts), (RowStatus::Sent, 2));
    assert_eq!(row.event_id.as_deref(), Some("event"));
    let settled = Marked::Settled { succeeded: 1, failed: 1 };
    assert_eq!(fail(fixture, failed("a", "b", 7, None)).await, settled);
}

/// In the order of the entries, whatever becomes of the others.
pub async fn a_batch_is_answered_entry_by_entry(fixture: &dyn Fixture) {
    two_rows(fixture).await;
    ensure(fixture, put("z", 9, '2', &["b"])).await;
    let batch = [
        applied("z", "b", 9),
        applied("a", "b", 6),
        applied("a", "c", 7),
        applied("x", "b", 7),
        applied("a", "b", 7),
    ];
    let answers = fixture.worker(0).mark_target_success(&batch).await.unwrap();
    let settled = |succeeded| Marked::Settled { succeeded, failed: 0 };
    let expected = [settled(1), Marked::Stale, Marked::Outstanding, Marked::Stale, settled(2)];
    assert_eq!(answers, expected);
    let sent = [sent("z", "b", 8, "event"), sent("a", "x", 7, "event")];
    fixture.worker(0).mark_target_sent(&sent).await.unwrap();
}

/// Nothing in, nothing out.
pub async fn an_empty_batch_is_no_error(fixture: &dyn Fixture) {
    let management = fixture.worker(0);
    management.mark_target_sent(&[]).await.unwrap();
    assert_eq!(management.mark_target_success(&[]).await.unwrap(), []);
    assert_eq!(management.mark_target_error(&[]).await.unwrap(), []);
}

/// The same answer and the same row, also twice in one batch.
pub async fn repeats_are_harmless(fixture: &dyn Fixture) {
    two_rows(fixture).await;
    for _ in 0..2 {
        send(fixture, sent("a", "b", 7, "event")).await;
        let row = row(fixture, "a", "b").await;
        assert_eq!((row.status, row.attempts), (RowStatus::Sent, 1));
    }
    let twice = [failed("a", "b", 7, None), failed("a", "b", 7, None)];
    for _ in 0..2 {
        let answers = fixture.worker(0).mark_target_error(&twice).await.unwrap();
        assert_eq!(answers, [Marked::Outstanding; 2]);
    }
    let settled = Marked::Settled { succeeded: 1, failed: 1 };
    for _ in 0..2 {
        assert_eq!(succeed(fixture, applied("a", "c", 7)).await, settled);
    }
    assert_eq!(one(fixture.worker(1).mark_target_error(&twice[..1]).await), settled);
}

/// A target may answer with any text.
pub async fn odd_reasons_are_stored(fixture: &dyn Fixture) {
    two_rows(fixture).await;
    for reason in ["it's \"bad\"; --", "\u{1f600} ä\nnext", "nul \0 inside", &"x".repeat(100_000)]
    {
        let entry = TargetError { reason: reason.into(), ..failed("a", "b", 7, Some(LATER)) };
        assert_eq!(fail(fixture, entry).await, Marked::Outstanding);
        let stored = row(fixture, "a", "b").await.reason.unwrap();
        let start: String = reason.chars().take(3).collect();
        assert!(stored.starts_with(&start), "{stored}");
    }
}
