//! The audit says all that happened, and shows when it was touched.

use hmac_propagator::id::Actor;
use hmac_propagator::management::sql::{AuditAction, AuditCheck, AuditQuery, SqlManagement};
use hmac_propagator::management::{Management, Outcome};
use hmac_propagator::testing::management::world::{
    LATER, NOW, applied, delete, failed, key, put, queue, rotation, sent,
};

use crate::database::TestDatabase;
use crate::world::{directory, ensure, report, rotate};

crate::on_each_database!(
    every_change_is_recorded_with_actor_and_revision,
    a_decision_is_recorded_under_who_asked_for_it,
    entries_are_picked_and_counted_by_their_kind,
    what_changes_nothing_is_not_recorded,
    an_entry_that_was_changed_or_deleted_is_noticed,
    an_entry_beside_the_chain_is_noticed,
    a_chain_that_was_cut_or_made_anew_is_noticed_by_who_knows_its_end,
    many_writers_make_one_chain,
);

async fn a_life(management: &SqlManagement) {
    directory(management, &["b"]).await;
    ensure(management, put("a", 7, '1', &["b"])).await;
    management.mark_target_sent(&[sent("a", "b", 7, "event-1")]).await.unwrap();
    management.mark_target_error(&[failed("a", "b", 7, None)]).await.unwrap();
    report(management, "a", 7, Outcome::Error).await;
    rotate(management, "a", 8, '2', NOW).await;
    management.mark_target_success(&[applied("a", "b", 8)]).await.unwrap();
    ensure(management, delete("a", 9, &[])).await;
}

async fn head(management: &SqlManagement) -> hmac_propagator::management::sql::AuditHead {
    match management.verify_audit(None).await.unwrap() {
        AuditCheck::Intact(head) => head,
        AuditCheck::Broken { seq, reason } => panic!("entry {seq} is {reason}"),
    }
}

async fn every_change_is_recorded_with_actor_and_revision(database: TestDatabase) {
    let management = database.open_with(SqlManagement::options().actor("robot")).await.unwrap();
    a_life(&management).await;
    management
        .acting_as(&Actor::new("alice").unwrap())
        .detach_target(&key("a"), &queue("b"))
        .await
        .unwrap();
    let entries = management.audit(&AuditQuery::newest(100)).await.unwrap();
    let said: Vec<_> = entries
        .iter()
        .rev()
        .map(|entry| (entry.action.as_str(), entry.actor.as_str(), entry.revision))
        .collect();
    let expected = [
        ("target_added", "robot", None),
        ("ensure", "robot", Some(7)),
        ("target_sent", "robot", Some(7)),
        ("target_error", "robot", Some(7)),
        ("fully_propagated", "robot", Some(7)),
        ("rotate", "robot", Some(8)),
        ("target_success", "robot", Some(8)),
        ("revoke", "robot", Some(9)),
        ("target_detached", "alice", Some(9)),
    ];
    assert_eq!(said, expected);
    let error = &entries[5];
    assert_eq!(error.detail.as_deref(), Some("refused"));
    assert_eq!((error.target.as_deref(), error.event_id.as_deref()), (Some("b"), Some("event-1")));
    let of_a = management.audit(&AuditQuery::newest(3).of(key("a")).before(9)).await.unwrap();
    assert_eq!(of_a.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [8, 7, 6]);
    assert!(management.audit(&AuditQuery::newest(3).of(key("x"))).await.unwrap().is_empty());
    assert_eq!(head(&management).await.seq, 9);
}

async fn a_decision_is_recorded_under_who_asked_for_it(database: TestDatabase) {
    let management = database.open_with(SqlManagement::options().actor("robot")).await.unwrap();
    let bob = Some(Actor::new("bob").unwrap());
    let mut put = put("a", 7, '1', &[]);
    put.actor = bob.clone();
    ensure(&management, put).await;
    let mut rotation = rotation("a", 8, '2');
    rotation.actor = bob;
    management.rotate_credential_secret(rotation).await.unwrap();
    ensure(&management, delete("a", 9, &[])).await;
    let entries = management.audit(&AuditQuery::newest(100)).await.unwrap();
    let actors: Vec<_> = entries.iter().rev().map(|entry| entry.actor.as_str()).collect();
    assert_eq!(actors, ["bob", "bob", "robot"]);
}

async fn entries_are_picked_and_counted_by_their_kind(database: TestDatabase) {
    let management = database.open().await;
    a_life(&management).await;
    ensure(&management, put("other", 1, '1', &[])).await;
    let decisions = [AuditAction::Ensure, AuditAction::Rotate, AuditAction::Revoke];
    let query = AuditQuery::newest(2).of(key("a")).actions(decisions);
    let newest = management.audit(&query).await.unwrap();
    let newest: Vec<_> = newest.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(newest, ["revoke", "rotate"]);
    assert_eq!(management.audit_count(&query).await.unwrap(), 3);
    let all = AuditQuery::newest(1).actions([AuditAction::Ensure]);
    assert_eq!(management.audit_count(&all).await.unwrap(), 2);
    let newest = management.audit(&query).await.unwrap()[0].seq;
    let earlier = query.before(newest);
    assert_eq!(management.audit_count(&earlier).await.unwrap(), 2);
}

async fn what_changes_nothing_is_not_recorded(database: TestDatabase) {
    let management = database.open().await;
    a_life(&management).await;
    let before = head(&management).await;
    // Repeats, and what is outdated.
    ensure(&management, delete("a", 9, &[])).await;
    assert!(management.upsert_credential_with_targets(put("a", 8, '1', &["b"])).await.is_err());
    assert!(management.upsert_credential_with_targets(put("a", 10, '1', &["x"])).await.is_err());
    management.mark_target_sent(&[sent("a", "b", 8, "late")]).await.unwrap();
    management.mark_target_error(&[failed("a", "b", 8, Some(LATER))]).await.unwrap();
    report(&management, "a", 8, Outcome::Success).await;
    assert_eq!(head(&management).await, before);
}

async fn an_entry_that_was_changed_or_deleted_is_noticed(database: TestDatabase) {
    let management = database.open().await;
    a_life(&management).await;
    let broken = |seq, reason| AuditCheck::Broken { seq, reason };
    for (column, value) in [
        ("actor", "'nobody'"),
        ("at", "5"),
        ("revision", "1"),
        ("target", "'c'"),
        ("detail", "'x'"),
        ("hash", "'00'"),
        ("action", "'rotate'"),
        ("client_id", "'b'"),
    ] {
        let before = database
            .raw(&format!("SELECT {column} FROM hmac_propagation_audit WHERE seq = 4"))
            .await;
        database
            .raw(&format!("UPDATE hmac_propagation_audit SET {column} = {value} WHERE seq = 4"))
            .await;
        let found = management.verify_audit(None).await.unwrap();
        assert_eq!(found, broken(4, "changed"), "{column}");
        let before = &before[0];
        database
            .raw(&format!("UPDATE hmac_propagation_audit SET {column} = '{before}' WHERE seq = 4"))
            .await;
        head(&management).await;
    }
    // A sign is not looked through either.
    for column in ["at", "revision"] {
        let flip = format!("UPDATE hmac_propagation_audit SET {column} = -{column} WHERE seq = 4");
        database.raw(&flip).await;
        assert_eq!(management.verify_audit(None).await.unwrap(), broken(4, "changed"), "{column}");
        database.raw(&flip).await;
        head(&management).await;
    }
    database.raw("DELETE FROM hmac_propagation_audit WHERE seq = 4").await;
    assert_eq!(management.verify_audit(None).await.unwrap(), broken(4, "missing"));
    database.raw("DELETE FROM hmac_propagation_audit WHERE seq > 4").await;
    assert_eq!(management.verify_audit(None).await.unwrap(), broken(4, "missing"));
}

async fn an_entry_beside_the_chain_is_noticed(database: TestDatabase) {
    let management = database.open().await;
    a_life(&management).await;
    let end = head(&management).await.seq;
    for seq in [end + 1, end + 1000] {
        let add = format!(
            "INSERT INTO hmac_propagation_audit (seq, at, action, actor, previous_hash, hash) \
             VALUES ({seq}, 5, 'rotate', 'nobody', '', '')"
        );
        database.raw(&add).await;
        let found = management.verify_audit(None).await.unwrap();
        assert_eq!(found, AuditCheck::Broken { seq: end + 1, reason: "added" });
        database.raw(&format!("DELETE FROM hmac_propagation_audit WHERE seq = {seq}")).await;
        head(&management).await;
    }
}

async fn a_chain_that_was_cut_or_made_anew_is_noticed_by_who_knows_its_end(database: TestDatabase) {
    let management = database.open().await;
    a_life(&management).await;
    let known = head(&management).await;
    ensure(&management, put("z", 1, '1', &[])).await;
    let check = management.verify_audit(Some(&known)).await.unwrap();
    assert!(matches!(check, AuditCheck::Intact(_)), "{check:?}");
    // Cut off, with a head that fits.
    let last = database.raw("SELECT hash FROM hmac_propagation_audit WHERE seq = 5").await;
    database
        .raw(&format!(
            "DELETE FROM hmac_propagation_audit WHERE seq > 5; \
         UPDATE hmac_propagation_audit_head SET seq = 5, hash = '{}'",
            last[0]
        ))
        .await;
    head(&management).await;
    let check = management.verify_audit(Some(&known)).await.unwrap();
    assert_eq!(check, AuditCheck::Broken { seq: 6, reason: "missing" });
    // And written on from there.
    for number in 2..7 {
        ensure(&management, put("z", number, '1', &[])).await;
    }
    head(&management).await;
    let check = management.verify_audit(Some(&known)).await.unwrap();
    assert_eq!(check, AuditCheck::Broken { seq: 8, reason: "rewritten" });
}

async fn many_writers_make_one_chain(database: TestDatabase) {
    let management = database.open().await;
    let other = database.open().await;
    let writers = (0..40).map(|number| {
        let worker = if number % 2 == 0 { management.clone() } else { other.clone() };
        tokio::spawn(async move { ensure(&worker, put(&format!("c-{number}"), 1, '1', &[])).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(head(&management).await.seq, 40);
}
