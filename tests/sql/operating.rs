//! The directory, the views, and what puts failed rows right.

use hmac_propagator::management::sql::{
    NewTarget, OperatorError, RotationPolicy, SqlManagement, TargetChange,
};
use hmac_propagator::management::{Management, Outcome, Proof, RowStatus};
use hmac_propagator::secret::PropagationSecret;
use hmac_propagator::store::Expiry;
use hmac_propagator::testing::management::world::{
    LATER, NOW, applied, delete, failed, key, names, open, put, queue, restricted, rotation,
    secret_of, sent,
};

use crate::database::TestDatabase;
use crate::world::{directory, ensure, report};

crate::on_each_database!(
    a_target_in_use_is_not_dropped_and_its_users_are_named,
    the_own_queue_is_no_target,
    a_changed_secret_is_in_the_next_delivery,
    a_note_stays_until_it_is_changed,
    a_failed_target_is_tried_again,
    what_is_stored_as_an_allow_list_does_not_stand_in_the_way,
    a_target_that_is_gone_for_good_is_detached,
    credentials_are_listed_with_the_state_of_each_target,
    open_rows_are_counted_for_each_target,
);

async fn a_target_in_use_is_not_dropped_and_its_users_are_named(database: TestDatabase) {
    let management = database.open().await;
    directory(&management, &["b", "c"]).await;
    for client in ["y", "x"] {
        ensure(&management, put(client, 1, '1', &["b"])).await;
    }
    match management.drop_target(&queue("b")).await.unwrap_err() {
        OperatorError::TargetInUse { target, users, count } => {
            assert_eq!((target, count), (queue("b"), 2));
            assert_eq!(users, [key("x"), key("y")]);
        }
        other => panic!("{other}"),
    }
    management.drop_target(&queue("c")).await.unwrap();
    let gone = management.drop_target(&queue("c")).await.unwrap_err();
    assert!(matches!(gone, OperatorError::UnknownTarget(_)), "{gone}");
    // Deleted there, and the target said so: it is not in use any more.
    for client in ["x", "y"] {
        ensure(&management, delete(client, 2, &[])).await;
    }
    assert!(management.drop_target(&queue("b")).await.is_err());
    let both = [applied("x", "b", 2), applied("y", "b", 2)];
    management.mark_target_success(&both).await.unwrap();
    management.drop_target(&queue("b")).await.unwrap();
    assert_eq!(management.targets().await.unwrap(), []);
    assert_eq!(names(&open(&management, 9, NOW).await), ["x!0/0", "y!0/0"]);
}

async fn the_own_queue_is_no_target(database: TestDatabase) {
    let options = SqlManagement::options().own_queue(queue("me"));
    let management = database.open_with(options).await.unwrap();
    let me = NewTarget::new(queue("me"), secret_of("me"));
    let refused = management.add_target(me).await.unwrap_err();
    assert!(matches!(refused, OperatorError::OwnQueue(_)), "{refused}");
    let other = NewTarget::new(queue("b"), secret_of("b"));
    management.add_target(other.clone()).await.unwrap();
    let refused = management.add_target(other).await.unwrap_err();
    assert!(matches!(refused, OperatorError::TargetExists(_)), "{refused}");
}

async fn a_changed_secret_is_in_the_next_delivery(database: TestDatabase) {
    let management = database.open().await;
    directory(&management, &["b"]).await;
    let secret = PropagationSecret::new("another secret").unwrap();
    let change = TargetChange::default().secret(secret.clone());
    management.change_target(&queue("b"), change).await.unwrap();
    let found = management.fetch_source_propagation_secret(&queue("b")).await.unwrap();
    assert_eq!(found, Some(secret.clone()));
    assert!(!management.targets().await.unwrap()[0].receive_only);
    let change = TargetChange::default().receive_only(true);
    management.change_target(&queue("b"), change).await.unwrap();
    assert!(management.targets().await.unwrap()[0].receive_only);
    let found = management.fetch_source_propagation_secret(&queue("b")).await.unwrap();
    assert_eq!(found, Some(secret));
    let unknown = management.change_target(&queue("x"), TargetChange::default()).await;
    assert!(matches!(unknown.unwrap_err(), OperatorError::UnknownTarget(_)));
}

async fn a_note_stays_until_it_is_changed(database: TestDatabase) {
    let management = database.open().await;
    let target = NewTarget::new(queue("b"), secret_of("b")).note("ask Kim\0");
    management.add_target(target).await.unwrap();
    let note = || async { management.targets().await.unwrap()[0].note.clone() };
    assert_eq!(note().await.as_deref(), Some("ask Kim\u{fffd}"));
    management
        .change_target(&queue("b"), TargetChange::default().receive_only(true))
        .await
        .unwrap();
    assert!(note().await.is_some());
    for (text, stored) in [("x".repeat(2000), Some(1000)), (String::new(), None)] {
        let change = TargetChange::default().note(&text);
        management.change_target(&queue("b"), change).await.unwrap();
        assert_eq!(note().await.map(|note| note.len()), stored);
    }
}

async fn a_failed_target_is_tried_again(database: TestDatabase) {
    let management = database.open().await;
    directory(&management, &["b", "c"]).await;
    ensure(&management, put("a", 7, '1', &["b", "c"])).await;
    management.mark_target_success(&[applied("a", "c", 7)]).await.unwrap();
    management.mark_target_error(&[failed("a", "b", 7, None)]).await.unwrap();
    report(&management, "a", 7, Outcome::Partial).await;
    assert!(open(&management, 9, LATER).await.is_empty());
    management.retry_target(&key("a"), &queue("b")).await.unwrap();
    assert_eq!(names(&open(&management, 9, NOW).await), ["a>b"]);
    management.mark_target_success(&[applied("a", "b", 7)]).await.unwrap();
    assert_eq!(names(&open(&management, 9, NOW).await), ["a!2/0"]);
    let refused = management.retry_target(&key("a"), &queue("b")).await.unwrap_err();
    assert!(matches!(refused, OperatorError::NotFailed { .. }), "{refused}");
    for (client, target) in [("a", "x"), ("x", "b")] {
        let refused = management.retry_target(&key(client), &queue(target)).await.unwrap_err();
        assert!(matches!(refused, OperatorError::NoSuchRow { .. }), "{refused}");
    }
}

/// Imported, or written by hand: no allow-list. The target refuses it, and it must be put right.
async fn what_is_stored_as_an_allow_list_does_not_stand_in_the_way(database: TestDatabase) {
    let management = database.open().await;
    directory(&management, &["b"]).await;
    let spoil = "UPDATE hmac_credentials SET allowed_ips = '[\"10.0.0.0/99\"]'";
    ensure(&management, put("a", 7, '1', &["b"])).await;
    database.raw(spoil).await;
    // What would keep it says why it cannot.
    let refused = management.upsert_credential_with_targets(put("a", 8, '2', &[])).await;
    assert!(refused.unwrap_err().to_string().contains("allow-list"));
    let refused = management.rotate_credential_secret(rotation("a", 8, '2')).await;
    assert!(refused.unwrap_err().to_string().contains("allow-list"));
    // What does not need it works: operators' calls, a new list, and above all the deletion.
    management.mark_target_error(&[failed("a", "b", 7, None)]).await.unwrap();
    management.retry_target(&key("a"), &queue("b")).await.unwrap();
    management.set_rotation_policy(&key("a"), Some(RotationPolicy::after_days(1))).await.unwrap();
    ensure(&management, restricted(put("a", 8, '2', &[]), Some(&["10.0.0.1"]), Expiry::Keep)).await;
    database.raw(spoil).await;
    ensure(&management, delete("a", 9, &[])).await;
    assert_eq!(names(&open(&management, 9, NOW).await), ["a>b"]);
}

async fn a_target_that_is_gone_for_good_is_detached(database: TestDatabase) {
    let management = database.open().await;
    directory(&management, &["b", "c"]).await;
    ensure(&management, put("a", 7, '1', &["b", "c"])).await;
    management.mark_target_success(&[applied("a", "c", 7)]).await.unwrap();
    management.detach_target(&key("a"), &queue("b")).await.unwrap();
    // What was left is complete.
    assert_eq!(names(&open(&management, 9, NOW).await), ["a!1/0"]);
    management.drop_target(&queue("b")).await.unwrap();
    let refused = management.detach_target(&key("a"), &queue("b")).await.unwrap_err();
    assert!(matches!(refused, OperatorError::NoSuchRow { .. }), "{refused}");
}

async fn credentials_are_listed_with_the_state_of_each_target(database: TestDatabase) {
    let management = database.open().await;
    directory(&management, &["b", "c", "d"]).await;
    let rules: &[&str] = &["10.0.0.0/8"];
    let request = put("a", 7, '1', &["b", "c", "d"]);
    ensure(&management, restricted(request, Some(rules), Expiry::At(9))).await;
    management.mark_target_sent(&[sent("a", "b", 7, "event")]).await.unwrap();
    management.mark_target_error(&[failed("a", "c", 7, None)]).await.unwrap();
    management.mark_target_success(&[applied("a", "d", 7)]).await.unwrap();
    for client in ["e", "f", "g"] {
        ensure(&management, put(client, 1, '1', &[])).await;
    }
    let a = management.credential(&key("a")).await.unwrap().unwrap();
    assert_eq!((a.revision.get(), a.deleted, a.reported), (7, false, None));
    assert_eq!((a.allowed_ips, a.expires_at_ms), (Some(vec!["10.0.0.0/8".into()]), Some(9)));
    assert_eq!((a.created_at_ms, a.rotated_at_ms), (NOW, Some(NOW)));
    let [b, c, d] = &a.targets[..] else { panic!("{:?}", a.targets) };
    assert_eq!((b.status, b.attempts, b.retry_at_ms), (RowStatus::Sent, 1, Some(LATER)));
    assert_eq!(b.event_id.as_ref().unwrap().as_str(), "event");
    assert_eq!((c.status, c.last_error.as_deref()), (RowStatus::Error, Some("refused")));
    assert_eq!((c.settled_at_ms, c.retry_at_ms), (Some(NOW), None));
    assert_eq!((d.status, d.proof), (RowStatus::Success, Some(Proof::Signed)));
    let first = management.credentials(None, 2).await.unwrap();
    let keys: Vec<_> = first.iter().map(|info| info.key.clone()).collect();
    assert_eq!(keys, [key("a"), key("e")]);
    assert_eq!(first[0].targets.len(), 3);
    let rest = management.credentials(Some(&key("e")), 9).await.unwrap();
    let keys: Vec<_> = rest.into_iter().map(|info| info.key).collect();
    assert_eq!(keys, [key("f"), key("g")]);
    assert_eq!(management.credential(&key("x")).await.unwrap(), None);
    let targets = management.targets().await.unwrap();
    let counts: Vec<_> = targets.iter().map(|t| (t.credentials, t.open, t.failed)).collect();
    assert_eq!(counts, [(1, 1, 0), (1, 0, 1), (1, 0, 0)]);
}

async fn open_rows_are_counted_for_each_target(database: TestDatabase) {
    let management = database.open().await;
    directory(&management, &["b", "c", "d"]).await;
    assert_eq!(management.backlog().await.unwrap(), []);
    for (client, number) in [("x", 7), ("y", 3), ("z", 5)] {
        ensure(&management, put(client, number, '1', &["b", "c", "d"])).await;
    }
    management.mark_target_sent(&[sent("x", "b", 7, "event")]).await.unwrap();
    management.mark_target_error(&[failed("y", "b", 3, Some(LATER))]).await.unwrap();
    management.mark_target_error(&[failed("z", "b", 5, None)]).await.unwrap();
    let held = [applied("x", "d", 7), applied("y", "d", 3), applied("z", "d", 5)];
    management.mark_target_success(&held).await.unwrap();
    let backlog = management.backlog().await.unwrap();
    let counts: Vec<_> = backlog
        .iter()
        .map(|b| (b.target.as_str(), b.pending, b.sent, b.retrying, b.oldest.get()))
        .collect();
    // What failed for good is not open, and `d` holds all it is to hold.
    assert_eq!(counts, [("b", 0, 1, 1, 3), ("c", 3, 0, 0, 3)]);
}
