//! What stands in the tables under a key, and who can read it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hmac_propagator::management::sql::{
    DataKey, KeyEncryption, KeyRing, LocalKey, SqlManagement, SqlOptions,
};
use hmac_propagator::management::{
    Management, ManagementError, Operation, PendingPropagation, PendingWork,
};
use hmac_propagator::testing::management::world::{
    NOW, hash, open, put, queue, secret_of, with_plain,
};

use tokio::sync::Semaphore;

use crate::database::TestDatabase;
use crate::world::{directory, ensure};

crate::on_each_database!(
    nothing_readable_is_stored_under_a_key,
    a_value_opens_in_its_own_row_alone,
    what_was_cut_or_is_under_an_unknown_key_is_refused,
    a_readable_value_is_refused_where_there_are_keys,
    without_its_key_a_database_does_not_open,
    stored_values_come_under_a_new_key_while_work_goes_on,
    a_database_that_was_readable_is_encrypted_once,
    after_rewrapping_the_old_key_is_not_needed,
    replicas_that_start_together_share_one_data_key,
    a_slow_key_service_holds_no_lock,
);

fn ring(id: &str) -> KeyRing {
    KeyRing::new(local(id))
}

fn local(id: &str) -> LocalKey {
    LocalKey::new(id, DataKey::new([id.as_bytes()[0]; 32]))
}

fn under(id: &str) -> SqlOptions {
    SqlManagement::options().keys(ring(id))
}

/// The hash and the target's secret of each delivery, where they can be read.
async fn readable(management: &SqlManagement) -> Vec<(bool, bool)> {
    let read = |entry: PendingPropagation| {
        let hash = matches!(&entry.operation, Operation::Put { secret_hash, .. }
            if *secret_hash == hash('c').expose());
        let PendingWork::Deliver(target) = entry.work else { panic!("not a delivery") };
        (hash, target.propagation_secret == Some(secret_of(&target.queue)))
    };
    open(management, 100, NOW).await.into_iter().map(read).collect()
}

async fn nothing_readable_is_stored_under_a_key(database: TestDatabase) {
    let management = database.open_with(under("k")).await.unwrap();
    directory(&management, &["b"]).await;
    ensure(&management, with_plain(put("a", 7, 'c', &["b"]), "the plain secret")).await;
    assert_eq!(readable(&management).await, [(true, true)]);
    let stored = [
        database.raw("SELECT secret_hash FROM hmac_credentials").await,
        database.raw("SELECT plain_secret FROM hmac_credentials").await,
        database.raw("SELECT propagation_secret FROM hmac_propagation_targets").await,
        database.raw("SELECT wrapped FROM hmac_data_keys").await,
    ]
    .concat()
    .join("\n");
    assert_eq!(stored.matches("aes256gcm:").count(), 3, "{stored}");
    for secret in [hash('c').expose(), "the plain secret", secret_of("b").expose()] {
        assert!(!stored.contains(secret));
    }
    let wrapped_under = "6b".repeat(32);
    assert!(!stored.contains(&wrapped_under));
}

async fn a_value_opens_in_its_own_row_alone(database: TestDatabase) {
    let management = database.open_with(under("k")).await.unwrap();
    directory(&management, &["b", "c"]).await;
    ensure(&management, put("a", 7, 'c', &["b"])).await;
    ensure(&management, put("z", 7, 'c', &["b", "c"])).await;
    assert_eq!(readable(&management).await, [(true, true); 3]);
    let moved =
        database.raw("SELECT secret_hash FROM hmac_credentials WHERE client_id = 'a'").await;
    let to_row =
        format!("UPDATE hmac_credentials SET secret_hash = '{}' WHERE client_id = 'z'", moved[0]);
    database.raw(&to_row).await;
    let moved = database
        .raw("SELECT propagation_secret FROM hmac_propagation_targets WHERE queue = 'b'")
        .await;
    let to_row = format!(
        "UPDATE hmac_propagation_targets SET propagation_secret = '{}' WHERE queue = 'c'",
        moved[0]
    );
    database.raw(&to_row).await;
    // The others go on.
    assert_eq!(readable(&management).await, [(true, true), (false, true), (false, false)]);
    // An older value of the same row does not open under a newer revision either.
    database.raw("UPDATE hmac_credentials SET revision = 8 WHERE client_id = 'a'").await;
    database.raw("UPDATE hmac_credential_targets SET revision = 8 WHERE client_id = 'a'").await;
    assert_eq!(readable(&management).await[0], (false, true));
}

async fn what_was_cut_or_is_under_an_unknown_key_is_refused(database: TestDatabase) {
    let management = database.open_with(under("k")).await.unwrap();
    directory(&management, &["b"]).await;
    ensure(&management, put("a", 7, 'c', &["b"])).await;
    let stored = database.raw("SELECT propagation_secret FROM hmac_propagation_targets").await;
    let stored = &stored[0];
    let key_id = stored.split(':').nth(1).unwrap();
    for bad in [
        stored[..stored.len() - 2].to_owned(),
        stored[..20].to_owned(),
        "aes256gcm:".to_owned(),
        stored.replace(key_id, &"0".repeat(key_id.len())),
        String::new(),
    ] {
        let update = format!("UPDATE hmac_propagation_targets SET propagation_secret = '{bad}'");
        database.raw(&update).await;
        let refused = management.fetch_source_propagation_secret(&queue("b")).await.unwrap_err();
        assert!(!refused.is_transient(), "{bad}");
        assert_eq!(readable(&management).await, [(true, false)], "{bad}");
    }
}

async fn a_readable_value_is_refused_where_there_are_keys(database: TestDatabase) {
    let management = database.open_with(under("k")).await.unwrap();
    directory(&management, &["b"]).await;
    let planted = "UPDATE hmac_propagation_targets SET propagation_secret = 'plain:planted'";
    database.raw(planted).await;
    let refused = management.fetch_source_propagation_secret(&queue("b")).await.unwrap_err();
    assert!(refused.to_string().contains("not encrypted"), "{refused}");
}

async fn without_its_key_a_database_does_not_open(database: TestDatabase) {
    database.open_with(under("k")).await.unwrap().close().await;
    for options in [SqlManagement::options(), under("x")] {
        let error = database.open_with(options).await.unwrap_err();
        assert!(error.to_string().contains("under key k"), "{error}");
    }
    // The right name and another key.
    let wrong = KeyRing::new(LocalKey::new("k", DataKey::new([0; 32])));
    assert!(database.open_with(SqlManagement::options().keys(wrong)).await.is_err());
    database.open_with(under("k")).await.unwrap();
}

async fn stored_values_come_under_a_new_key_while_work_goes_on(database: TestDatabase) {
    let management = database.open_with(under("k")).await.unwrap();
    let other = database.open_with(under("k")).await.unwrap();
    directory(&management, &["b"]).await;
    for number in 0..450 {
        ensure(&management, put(&format!("client-{number:03}"), 7, 'c', &["b"])).await;
    }
    let old = database.raw("SELECT key_id FROM hmac_data_keys").await;
    let mut seen = Vec::new();
    let encrypting = management.reencrypt(|progress| seen.push((progress.done, progress.total)));
    let deciding = async {
        for number in 450..500 {
            ensure(&other, put(&format!("client-{number:03}"), 7, 'c', &["b"])).await;
        }
    };
    let (done, ()) = tokio::join!(encrypting, deciding);
    assert!(done.unwrap().changed >= 451);
    assert!(seen.len() >= 3 && seen.is_sorted(), "{seen:?}");
    assert!(seen.iter().all(|(_, total)| (451..=501).contains(total)), "{seen:?}");
    // The other replica used the old key until it heard of the new one: a second pass finds those.
    management.reencrypt(|_| {}).await.unwrap();
    let under_old = format!(
        "SELECT COUNT(*) FROM hmac_credentials WHERE secret_hash LIKE 'aes256gcm:{}:%'",
        old[0]
    );
    assert_eq!(database.raw(&under_old).await, ["0"]);
    // Neither replica missed anything.
    assert_eq!(readable(&management).await, [(true, true); 100].repeat(5));
    management.close().await;
}

async fn a_database_that_was_readable_is_encrypted_once(database: TestDatabase) {
    let management = database.open().await;
    directory(&management, &["b"]).await;
    ensure(&management, put("a", 7, 'c', &["b"])).await;
    management.close().await;
    let management = database.open_with(under("k")).await.unwrap();
    assert_eq!(readable(&management).await, [(false, false)]);
    let done = management.reencrypt(|_| {}).await.unwrap();
    assert_eq!(done.changed, 2);
    assert_eq!(readable(&management).await, [(true, true)]);
    let stored = database.raw("SELECT secret_hash FROM hmac_credentials").await;
    assert!(stored[0].starts_with("aes256gcm:"));
}

async fn after_rewrapping_the_old_key_is_not_needed(database: TestDatabase) {
    let management = database.open_with(under("k")).await.unwrap();
    directory(&management, &["b"]).await;
    ensure(&management, put("a", 7, 'c', &["b"])).await;
    management.close().await;
    let both = SqlManagement::options().keys(ring("n").older(local("k")));
    let management = database.open_with(both).await.unwrap();
    assert_eq!(management.rewrap_keys().await.unwrap(), 1);
    management.close().await;
    let management = database.open_with(under("n")).await.unwrap();
    assert_eq!(readable(&management).await, [(true, true)]);
    assert!(database.open_with(under("k")).await.is_err());
}

async fn replicas_that_start_together_share_one_data_key(database: TestDatabase) {
    let open = || database.open_with(under("k"));
    let (first, second, third) = tokio::join!(open(), open(), open());
    let (first, second, _) = (first.unwrap(), second.unwrap(), third.unwrap());
    assert_eq!(database.raw("SELECT COUNT(*) FROM hmac_data_keys").await, ["1"]);
    directory(&first, &["b"]).await;
    let secret = second.fetch_source_propagation_secret(&queue("b")).await.unwrap();
    assert_eq!(secret, Some(secret_of("b")));
}

/// A key-encryption key that takes its time, as a passphrase or a service far away.
#[derive(Debug)]
struct Slow {
    key: LocalKey,
    /// Whoever wraps or unwraps comes by here, and waits until it is let go.
    gate: Arc<Semaphore>,
    /// One for each that came by.
    came: Arc<Semaphore>,
}

impl Slow {
    async fn wait(&self) {
        self.came.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl KeyEncryption for Slow {
    fn id(&self) -> &str {
        self.key.id()
    }

    async fn wrap_key(&self, key: &DataKey, context: &[u8]) -> Result<Vec<u8>, ManagementError> {
        self.wait().await;
        self.key.wrap_key(key, context).await
    }

    async fn unwrap_key(&self, wrapped: &[u8], context: &[u8]) -> Result<DataKey, ManagementError> {
        self.wait().await;
        self.key.unwrap_key(wrapped, context).await
    }
}

async fn a_slow_key_service_holds_no_lock(database: TestDatabase) {
    let management = database.open_with(under("k")).await.unwrap();
    directory(&management, &["b"]).await;
    ensure(&management, put("a", 7, 'c', &["b"])).await;
    let (gate, came) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let slow = Slow { key: local("k"), gate: gate.clone(), came: came.clone() };
    let options = SqlManagement::options().keys(KeyRing::new(slow));
    let mut revision = 7;
    let others_go_on = async |waiting: &str| {
        came.acquire().await.unwrap().forget();
        revision += 1;
        let decision = management.upsert_credential_with_targets(put("a", revision, 'c', &["b"]));
        let decided = tokio::time::timeout(Duration::from_secs(4), decision).await;
        decided.expect(waiting).unwrap();
        gate.add_permits(1);
    };
    let mut others_go_on = others_go_on;
    let (slow, ()) = tokio::join!(database.open_with(options), others_go_on("opens"));
    let slow = slow.unwrap();
    let (done, ()) = tokio::join!(slow.reencrypt(|_| {}), others_go_on("makes a key"));
    done.unwrap();
    let rewrapping = async {
        others_go_on("wraps the first key anew").await;
        others_go_on("wraps the second key anew").await;
    };
    let (done, ()) = tokio::join!(slow.rewrap_keys(), rewrapping);
    assert_eq!(done.unwrap(), 2);
    assert_eq!(readable(&management).await, [(true, true)]);
}
