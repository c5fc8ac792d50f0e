//! The adapter in memory under its own suite.

use async_trait::async_trait;

use super::{Fixture, StoredCredential, StoredRow};
use crate::id::{CredentialKey, PeerQueue};
use crate::management::{Management, MemoryManagement};
use crate::secret::PropagationSecret;

/// A fixture over [`MemoryManagement`]: an example of one.
#[derive(Debug, Default)]
pub struct MemoryFixture {
    management: MemoryManagement,
}

#[async_trait]
impl Fixture for MemoryFixture {
    fn worker(&self, _: usize) -> &dyn Management {
        &self.management
    }

    async fn add_target(&self, queue: &PeerQueue, secret: &PropagationSecret, receive_only: bool) {
        let (queue, secret) = (queue.clone(), secret.clone());
        if receive_only {
            self.management.add_receive_only_target(queue, secret);
        } else {
            self.management.add_target(queue, secret);
        }
    }

    async fn credential(&self, key: &CredentialKey) -> Option<StoredCredential> {
        self.management.credential(key).map(|view| StoredCredential {
            revision: view.revision.get(),
            deleted: view.deleted,
            keeps_plain_secret: view.keeps_plain_secret,
            reported: view.reported,
        })
    }

    async fn row(&self, key: &CredentialKey, target: &PeerQueue) -> Option<StoredRow> {
        let rows = self.management.rows(key);
        rows.into_iter().find(|row| row.target == *target).map(|row| StoredRow {
            revision: row.revision.get(),
            status: row.status,
            event_id: row.event_id.map(String::from),
            attempts: row.attempts,
            reason: row.reason,
            proof: row.proof,
            store: row.store.map(String::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryFixture;

    async fn fixture() -> MemoryFixture {
        MemoryFixture::default()
    }

    crate::management_conformance!(fixture);
}
