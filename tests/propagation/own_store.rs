//! The authority's own store keeps up with its decisions.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use hmac_propagator::cursor::Cursor;
use hmac_propagator::error::{ErrorKind, StoreError};
use hmac_propagator::id::{ClientId, Track};
use hmac_propagator::management::{Outcome, RowStatus};
use hmac_propagator::propagator::Ensure;
use hmac_propagator::store::{
    Applied, Credential, CredentialStore, RedisCredentialStore, VersionedChange,
};

use crate::mesh::{Mesh, Store, client_id, directory_of, key_on, queue, secret};

/// A store whose first change fails, as if the process had died before it.
#[derive(Debug)]
struct FailsOnce {
    store: RedisCredentialStore,
    failed: AtomicBool,
}

#[async_trait]
impl CredentialStore for FailsOnce {
    fn track(&self) -> Track {
        self.store.track()
    }

    async fn get(&self, client_id: &ClientId) -> Result<Option<Credential>, StoreError> {
        self.store.get(client_id).await
    }

    async fn cursor(&self, client_id: &ClientId) -> Result<Option<Cursor>, StoreError> {
        self.store.cursor(client_id).await
    }

    async fn apply(
        &self,
        changes: &[VersionedChange],
        now_ms: u64,
    ) -> Vec<Result<Applied, StoreError>> {
        if self.failed.swap(true, Ordering::SeqCst) {
            return self.store.apply(changes, now_ms).await;
        }
        changes.iter().map(|_| Err(StoreError::transient("away"))).collect()
    }

    async fn list(
        &self,
        after: Option<String>,
    ) -> Result<(Vec<ClientId>, Option<String>), StoreError> {
        self.store.list(after).await
    }
}

#[tokio::test]
async fn a_credential_without_targets_is_in_the_own_store_before_a_sync_reports_it() {
    let mesh = Mesh::new().await;
    let own = Store::start().await;
    let management = directory_of(&[]);
    let store = FailsOnce { store: own.http.clone(), failed: AtomicBool::new(false) };
    let builder = mesh.peer("authority", &own).credential_store(store);
    let authority = builder.management(management.clone()).start().await.unwrap();
    authority.ready().await.unwrap();

    let ensured = authority.ensure(Ensure::new(client_id("alone"), secret("s"))).await;
    assert_eq!(ensured.unwrap_err().kind(), ErrorKind::Store);
    let key = key_on(Track::Http, "alone");
    assert_eq!(management.credential(&key).unwrap().reported, None);
    assert_eq!(own.hash("alone").await, None);

    authority.sync().await.unwrap();
    assert!(own.hash("alone").await.is_some());
    assert_eq!(management.credential(&key).unwrap().reported, Some(Outcome::Success));
    authority.close().await;
}

#[tokio::test]
async fn a_credential_that_the_own_store_refuses_delays_no_other() {
    let mesh = Mesh::new().await;
    let own = Store::start().await;
    let authority = mesh.full("authority", &own, &["b"]).await;
    for client in ["bad", "good"] {
        let request = Ensure::new(client_id(client), secret(client)).targets([queue("b")]);
        authority.peer.ensure(request).await.unwrap();
    }
    // The books lose what they know of it, and its cursor becomes something that is no cursor.
    let (revision, cursor) = ("propagation:revision:http:bad", "propagation:last-seen:http:bad");
    let _: u32 = own.redis.command(&["DEL", revision, cursor]).await.unwrap();
    let _: u32 = own.redis.command(&["HSET", cursor, "a", "b"]).await.unwrap();

    let summary = authority.peer.sync().await.unwrap();
    assert_eq!((summary.targets_published, summary.targets_retrying), (1, 1));
    let row = authority.row("bad", "b");
    assert_eq!(row.status, RowStatus::Error);
    assert!(row.reason.unwrap().starts_with("own store: "));
    authority.peer.close().await;
}
