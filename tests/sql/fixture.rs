//! The conformance suite over the three databases.

use std::time::Duration;

use async_trait::async_trait;
use hmac_propagator::id::{CredentialKey, PeerQueue};
use hmac_propagator::management::Management;
use hmac_propagator::management::sql::{NewTarget, SqlManagement};
use hmac_propagator::secret::PropagationSecret;
use hmac_propagator::testing::management::{Fixture, StoredCredential, StoredRow};

use crate::database::TestDatabase;

const LEASE: Duration = Duration::from_millis(1500);

pub struct SqlFixture {
    workers: [SqlManagement; 2],
    // Below: its connections end before it does.
    _database: TestDatabase,
}

impl SqlFixture {
    async fn on(database: TestDatabase) -> Self {
        let options = || SqlManagement::options().claim_lease(LEASE).connections(4);
        // At once, as replicas start: one of them makes the tables.
        let (first, second) =
            tokio::join!(database.open_with(options()), database.open_with(options()));
        Self { workers: [first.unwrap(), second.unwrap()], _database: database }
    }
}

#[async_trait]
impl Fixture for SqlFixture {
    fn worker(&self, number: usize) -> &dyn Management {
        &self.workers[number]
    }

    async fn add_target(&self, queue: &PeerQueue, secret: &PropagationSecret, receive_only: bool) {
        let target = NewTarget::new(queue.clone(), secret.clone());
        let target = if receive_only { target.receive_only() } else { target };
        self.workers[0].add_target(target).await.unwrap();
    }

    async fn credential(&self, key: &CredentialKey) -> Option<StoredCredential> {
        let info = self.workers[0].credential(key).await.unwrap()?;
        Some(StoredCredential {
            revision: info.revision.get(),
            deleted: info.deleted,
            keeps_plain_secret: info.keeps_plain_secret,
            reported: info.reported,
        })
    }

    async fn row(&self, key: &CredentialKey, target: &PeerQueue) -> Option<StoredRow> {
        let info = self.workers[0].credential(key).await.unwrap()?;
        info.targets.into_iter().find(|row| row.target == *target).map(|row| StoredRow {
            revision: row.revision.get(),
            status: row.status,
            event_id: row.event_id.map(String::from),
            attempts: u32::try_from(row.attempts).unwrap(),
            reason: row.last_error,
            proof: row.proof,
            store: row.store.map(String::from),
        })
    }

    fn claim_lease(&self) -> Option<Duration> {
        Some(LEASE)
    }
}

mod sqlite {
    use super::{SqlFixture, TestDatabase};

    async fn fixture() -> SqlFixture {
        SqlFixture::on(TestDatabase::sqlite().await).await
    }

    hmac_propagator::management_conformance!(fixture);
}

mod postgres {
    use super::{SqlFixture, TestDatabase};

    async fn fixture() -> SqlFixture {
        SqlFixture::on(TestDatabase::postgres().await).await
    }

    hmac_propagator::management_conformance!(fixture);
}

mod mariadb {
    use super::{SqlFixture, TestDatabase};

    async fn fixture() -> SqlFixture {
        SqlFixture::on(TestDatabase::mariadb().await).await
    }

    hmac_propagator::management_conformance!(fixture);
}
