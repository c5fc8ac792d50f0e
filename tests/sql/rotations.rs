//! Rotation policies.

use std::time::Duration;

use hmac_propagator::management::sql::{
    DataKey, KeyRing, LocalKey, OperatorError, RotationPolicy, SqlManagement,
};
use hmac_propagator::store::Expiry;
use hmac_propagator::testing::management::world::{NOW, delete, key, put, restricted};

use crate::database::TestDatabase;
use crate::world::{ensure, rotate};

crate::on_each_database!(
    a_rotation_is_due_after_its_time_and_starts_the_policy_anew,
    the_same_secret_again_does_not_put_a_rotation_off,
    jitter_makes_it_earlier_and_never_later,
    overdue_rotations_are_told_apart,
    what_is_deleted_or_without_policy_is_never_due,
);

const DAY: u64 = 24 * 60 * 60 * 1000;

async fn due(management: &SqlManagement, now_ms: u64) -> Vec<String> {
    let due = management.due_rotations(now_ms, 10).await.unwrap();
    due.into_iter().map(|due| due.key.client_id.as_str().to_owned()).collect()
}

async fn a_rotation_is_due_after_its_time_and_starts_the_policy_anew(database: TestDatabase) {
    let management = database.open().await;
    ensure(&management, put("a", 1, '1', &[])).await;
    let policy = RotationPolicy::after_days(30);
    management.set_rotation_policy(&key("a"), Some(policy)).await.unwrap();
    assert!(due(&management, NOW + 30 * DAY - 1).await.is_empty());
    assert_eq!(due(&management, NOW + 30 * DAY).await, ["a"]);
    rotate(&management, "a", 2, '2', NOW + 31 * DAY).await;
    assert!(due(&management, NOW + 61 * DAY - 1).await.is_empty());
    assert_eq!(due(&management, NOW + 61 * DAY).await, ["a"]);
    let info = management.credential(&key("a")).await.unwrap().unwrap();
    assert_eq!((info.policy, info.rotated_at_ms), (Some(policy), Some(NOW + 31 * DAY)));
}

async fn the_same_secret_again_does_not_put_a_rotation_off(database: TestDatabase) {
    let keys = KeyRing::new(LocalKey::new("k", DataKey::new([1; 32])));
    let management = database.open_with(SqlManagement::options().keys(keys)).await.unwrap();
    ensure(&management, put("a", 1, '1', &[])).await;
    let policy = RotationPolicy::after_days(30).jitter(Duration::from_millis(5 * DAY));
    management.set_rotation_policy(&key("a"), Some(policy)).await.unwrap();
    let before = management.credential(&key("a")).await.unwrap().unwrap();
    let again = |number, digit| {
        let named = put("a", number, digit, &[]);
        let mut request = restricted(named, Some(&["10.0.0.0/8"]), Expiry::Keep);
        request.now_ms = NOW + 20 * DAY;
        request
    };
    ensure(&management, again(2, '1')).await;
    let info = management.credential(&key("a")).await.unwrap().unwrap();
    assert_eq!(info.updated_at_ms, NOW + 20 * DAY);
    assert_eq!(info.rotated_at_ms, Some(NOW));
    assert_eq!(info.next_rotation_at_ms, before.next_rotation_at_ms);
    ensure(&management, again(3, '2')).await;
    let info = management.credential(&key("a")).await.unwrap().unwrap();
    assert_eq!(info.rotated_at_ms, Some(NOW + 20 * DAY));
    assert!(info.next_rotation_at_ms.unwrap() >= NOW + 45 * DAY);
    // After a deletion it is a new one, whatever its secret.
    ensure(&management, delete("a", 4, &[])).await;
    let mut request = put("a", 5, '2', &[]);
    request.now_ms = NOW + 60 * DAY;
    ensure(&management, request).await;
    let info = management.credential(&key("a")).await.unwrap().unwrap();
    assert_eq!(info.rotated_at_ms, Some(NOW + 60 * DAY));
}

async fn jitter_makes_it_earlier_and_never_later(database: TestDatabase) {
    let management = database.open().await;
    let policy = RotationPolicy::after_days(10).jitter(Duration::from_millis(4 * DAY));
    let mut times = Vec::new();
    for number in 0..30 {
        let client = format!("client-{number}");
        ensure(&management, put(&client, 1, '1', &[])).await;
        management.set_rotation_policy(&key(&client), Some(policy)).await.unwrap();
        let info = management.credential(&key(&client)).await.unwrap().unwrap();
        times.push(info.next_rotation_at_ms.unwrap());
    }
    assert!(times.iter().all(|at| (NOW + 6 * DAY..=NOW + 10 * DAY).contains(at)), "{times:?}");
    times.sort_unstable();
    times.dedup();
    assert!(times.len() > 20, "spread: {times:?}");
}

async fn overdue_rotations_are_told_apart(database: TestDatabase) {
    let management = database.open().await;
    for (client, days) in [("early", 1), ("late", 3)] {
        ensure(&management, put(client, 1, '1', &[])).await;
        let policy = RotationPolicy::after_days(days);
        management.set_rotation_policy(&key(client), Some(policy)).await.unwrap();
    }
    let now_ms = NOW + 4 * DAY;
    assert_eq!(due(&management, now_ms).await, ["early", "late"]);
    let by = Duration::from_millis(2 * DAY);
    let overdue = management.overdue_rotations(now_ms, by, 10).await.unwrap();
    assert_eq!(overdue.len(), 1);
    assert_eq!((overdue[0].due_at_ms, overdue[0].rotated_at_ms), (NOW + DAY, NOW));
    assert_eq!(overdue[0].overdue, Duration::from_millis(3 * DAY));
}

async fn what_is_deleted_or_without_policy_is_never_due(database: TestDatabase) {
    let management = database.open().await;
    let policy = Some(RotationPolicy::after_days(1));
    for client in ["deleted", "cleared", "none"] {
        ensure(&management, put(client, 1, '1', &[])).await;
    }
    for client in ["deleted", "cleared"] {
        management.set_rotation_policy(&key(client), policy).await.unwrap();
    }
    management.set_rotation_policy(&key("cleared"), None).await.unwrap();
    ensure(&management, delete("deleted", 2, &[])).await;
    assert!(due(&management, NOW + 1000 * DAY).await.is_empty());
    for client in ["deleted", "unknown"] {
        let refused = management.set_rotation_policy(&key(client), policy).await.unwrap_err();
        assert!(matches!(refused, OperatorError::UnknownCredential(_)), "{refused}");
    }
    // Made anew, it has its policy again.
    ensure(&management, put("deleted", 3, '1', &[])).await;
    assert_eq!(due(&management, NOW + DAY).await, ["deleted"]);
}
