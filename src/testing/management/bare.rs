//! An adapter with the eight callbacks alone: the suite passes over what the trait provides for it.

use async_trait::async_trait;

use super::{Fixture, MemoryFixture, StoredCredential, StoredRow};
use crate::id::{CredentialKey, PeerQueue};
use crate::management::{
    FetchPending, FullyPropagated, Management, ManagementError, Marked, PendingPage,
    RotateCredential, Rotated, TargetError, TargetSent, TargetSuccess, UpsertCredential, Upserted,
};
use crate::secret::PropagationSecret;

type Answer<T> = Result<T, ManagementError>;

#[derive(Debug, Default)]
struct Bare(MemoryFixture);

#[async_trait]
impl Management for Bare {
    async fn upsert_credential_with_targets(&self, request: UpsertCredential) -> Answer<Upserted> {
        self.0.worker(0).upsert_credential_with_targets(request).await
    }

    async fn rotate_credential_secret(&self, request: RotateCredential) -> Answer<Option<Rotated>> {
        self.0.worker(0).rotate_credential_secret(request).await
    }

    async fn fetch_pending_propagations(&self, request: FetchPending) -> Answer<PendingPage> {
        self.0.worker(0).fetch_pending_propagations(request).await
    }

    async fn fetch_source_propagation_secret(
        &self,
        source: &PeerQueue,
    ) -> Answer<Option<PropagationSecret>> {
        self.0.worker(0).fetch_source_propagation_secret(source).await
    }

    async fn mark_target_sent(&self, sent: &[TargetSent]) -> Answer<()> {
        self.0.worker(0).mark_target_sent(sent).await
    }

    async fn mark_target_success(&self, applied: &[TargetSuccess]) -> Answer<Vec<Marked>> {
        // Written before there were stores.
        let forget = |entry: &TargetSuccess| TargetSuccess { store: None, ..entry.clone() };
        let applied: Vec<_> = applied.iter().map(forget).collect();
        self.0.worker(0).mark_target_success(&applied).await
    }

    async fn mark_target_error(&self, failed: &[TargetError]) -> Answer<Vec<Marked>> {
        self.0.worker(0).mark_target_error(failed).await
    }

    async fn mark_credential_fully_propagated(&self, report: FullyPropagated) -> Answer<()> {
        self.0.worker(0).mark_credential_fully_propagated(report).await
    }
}

#[async_trait]
impl Fixture for Bare {
    fn worker(&self, _: usize) -> &dyn Management {
        self
    }

    async fn add_target(&self, queue: &PeerQueue, secret: &PropagationSecret, receive_only: bool) {
        self.0.add_target(queue, secret, receive_only).await;
    }

    async fn credential(&self, key: &CredentialKey) -> Option<StoredCredential> {
        self.0.credential(key).await
    }

    async fn row(&self, key: &CredentialKey, target: &PeerQueue) -> Option<StoredRow> {
        self.0.row(key, target).await
    }

    fn refills(&self) -> bool {
        false
    }
}

async fn fixture() -> Bare {
    Bare::default()
}

crate::management_conformance!(fixture);
