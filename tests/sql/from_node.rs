//! The way in from a database that a Node peer filled.

use hmac_propagator::management::sql::{DataKey, KeyRing, LocalKey, SqlManagement};
use hmac_propagator::management::{Management, Operation, PendingWork, RowStatus};
use hmac_propagator::testing::management::world::{hash, key, names, open, put, queue, secret_of};

use crate::database::TestDatabase;

const SCRIPT: &str = include_str!("../../docs/from-node.sql");

/// As the old peer leaves it: with a rotated credential whose rows say what is not so, a revoked one
/// (told by a null), one on the other track, odd spelling, and an audit of its own.
const OLD: &str = "
CREATE TABLE hmac_credential (id INT AUTO_INCREMENT PRIMARY KEY, track VARCHAR(16), client_id VARCHAR(255) NOT NULL,
    secret_hash VARCHAR(255), plain_secret VARCHAR(255), allowed_ips JSON, expires_at DATETIME(3),
    created_at DATETIME(3) NOT NULL, updated_at DATETIME(3) NOT NULL);
CREATE TABLE hmac_target (id INT AUTO_INCREMENT PRIMARY KEY, queue_name VARCHAR(255) NOT NULL, propagation_secret VARCHAR(255));
CREATE TABLE hmac_credential_target (credential_id INT NOT NULL, target_id INT NOT NULL,
    status ENUM('pending', 'sent', 'success', 'error') NOT NULL, error_message TEXT, PRIMARY KEY (credential_id, target_id));
CREATE TABLE hmac_audit (id INT AUTO_INCREMENT PRIMARY KEY, action VARCHAR(32), client_id VARCHAR(255), created_at DATETIME(3));
INSERT INTO hmac_target VALUES (1, 'b', 'secret of b'), (2, 'c', 'secret of c');
INSERT INTO hmac_credential VALUES
    (1, 'http', 'orders', REPEAT('A', 64), 'left behind', '[\"10.0.0.0/8\"]', '2030-01-01 00:00:00.000', '2026-01-01', '2026-02-01'),
    (2, 'http', 'revoked', NULL, NULL, '[\"10.0.0.0/8\"]', NULL, '2026-01-01', '2026-02-01'),
    (3, 'message', 'orders', CONCAT(' ', REPEAT('b', 64)), NULL, NULL, NULL, '2026-01-01', '2026-02-01'),
    (4, NULL, 'alone', REPEAT('c', 64), NULL, NULL, NULL, '2026-01-01', '2026-02-01');
INSERT INTO hmac_credential_target VALUES (1, 1, 'success', NULL), (1, 2, 'sent', NULL), (2, 1, 'error', 'timeout'), (3, 2, 'pending', NULL);
INSERT INTO hmac_audit VALUES (1, 'ensure', 'orders', '2026-01-01');
";

#[tokio::test]
async fn the_data_of_a_node_peer_comes_in_whole_and_is_sent_once_more() {
    let database = TestDatabase::mariadb().await;
    database.raw(OLD).await;
    let management = database.open().await;
    database.raw(SCRIPT).await;
    let entries = open(&management, 100, u64::MAX >> 1).await;
    let mut found = names(&entries);
    found.sort();
    assert_eq!(found, ["alone!0/0", "orders>b", "orders>c", "orders>c", "revoked>b"]);
    for entry in &entries {
        if let PendingWork::Deliver(target) = &entry.work {
            assert_eq!(target.propagation_secret, Some(secret_of(&target.queue)));
            assert_eq!((target.status, target.attempts), (RowStatus::Pending, 0));
        }
        match (&entry.operation, entry.client_id.as_str(), entry.track.as_str()) {
            (Operation::Delete, "revoked", _) => {}
            (Operation::Put { secret_hash, allowed_ips, expires_at, .. }, "orders", "http") => {
                assert_eq!(secret_hash, hash('a').expose());
                assert_eq!(allowed_ips.as_deref(), Some(&["10.0.0.0/8".to_owned()][..]));
                assert!(expires_at.unwrap().abs_diff(1_893_456_000_000) <= 14 * 3_600_000);
            }
            (Operation::Put { secret_hash, .. }, "orders", "message") => {
                assert_eq!(secret_hash, hash('b').expose());
            }
            (Operation::Put { secret_hash, .. }, "alone", "http") => {
                assert_eq!(secret_hash, hash('c').expose());
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(!management.credential(&key("orders")).await.unwrap().unwrap().keeps_plain_secret);
    // The next decision goes on from there, and the old tables are untouched.
    let revision = management.credential(&key("orders")).await.unwrap().unwrap().revision.get();
    let next = put("orders", revision + 1, '2', &[]);
    assert_eq!(management.upsert_credential_with_targets(next).await.unwrap().targets, 2);
    assert_eq!(database.raw("SELECT COUNT(*) FROM hmac_credential_target").await, ["4"]);
    assert_eq!(database.raw("SELECT COUNT(*) FROM hmac_audit").await, ["1"]);
    management.close().await;
    // With keys from here on.
    let ring = KeyRing::new(LocalKey::new("k", DataKey::new([1; 32])));
    let management = database.open_with(SqlManagement::options().keys(ring)).await.unwrap();
    assert_eq!(management.reencrypt(|_| {}).await.unwrap().changed, 5);
    let secret = management.fetch_source_propagation_secret(&queue("b")).await.unwrap();
    assert_eq!(secret, Some(secret_of("b")));
}

#[tokio::test]
async fn a_second_import_changes_nothing() {
    let database = TestDatabase::mariadb().await;
    database.raw(OLD).await;
    let management = database.open().await;
    database.raw(SCRIPT).await;
    let before = management.credentials(None, 100).await.unwrap();
    let TestDatabase::Server { database: server, .. } = &database else { panic!("a server") };
    assert!(server.execute(SCRIPT).await.is_err());
    assert_eq!(management.credentials(None, 100).await.unwrap(), before);
}
