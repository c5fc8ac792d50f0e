//! Keeps a callback that hangs or panics from holding up anything but itself.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::time::timeout;

use crate::id::PeerQueue;
use crate::management::{
    CredentialPage, FetchCredentials, FetchPending, FullyPropagated, Management, ManagementError,
    Marked, PendingPage, ReopenRows, Reopened, RotateCredential, Rotated, TargetError, TargetSent,
    TargetSuccess, UpsertCredential, Upserted,
};
use crate::secret::PropagationSecret;

/// A management side whose callbacks end in time, one way or another.
#[derive(Debug)]
pub(crate) struct Bounded {
    inner: Arc<dyn Management>,
    longest: Duration,
}

type Answer<T> = Result<T, ManagementError>;

impl Bounded {
    pub(crate) fn new(inner: Arc<dyn Management>, longest: Duration) -> Self {
        Self { inner, longest }
    }

    async fn call<T>(&self, callback: impl Future<Output = Answer<T>>) -> Answer<T> {
        match timeout(self.longest, AssertUnwindSafe(callback).catch_unwind()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => Err(panicked(&*panic)),
            Err(_) => Err(ManagementError::transient("the callback did not answer in time")),
        }
    }
}

/// What a panic says may hold a value that is nobody's business: only that it happened is told.
fn panicked(_: &(dyn Any + Send)) -> ManagementError {
    ManagementError::permanent("the callback panicked")
}

#[async_trait]
impl Management for Bounded {
    async fn upsert_credential_with_targets(&self, request: UpsertCredential) -> Answer<Upserted> {
        self.call(self.inner.upsert_credential_with_targets(request)).await
    }

    async fn rotate_credential_secret(&self, request: RotateCredential) -> Answer<Option<Rotated>> {
        self.call(self.inner.rotate_credential_secret(request)).await
    }

    async fn fetch_pending_propagations(&self, request: FetchPending) -> Answer<PendingPage> {
        self.call(self.inner.fetch_pending_propagations(request)).await
    }

    async fn fetch_source_propagation_secret(
        &self,
        source: &PeerQueue,
    ) -> Answer<Option<PropagationSecret>> {
        self.call(self.inner.fetch_source_propagation_secret(source)).await
    }

    async fn mark_target_sent(&self, sent: &[TargetSent]) -> Answer<()> {
        self.call(self.inner.mark_target_sent(sent)).await
    }

    async fn mark_target_success(&self, applied: &[TargetSuccess]) -> Answer<Vec<Marked>> {
        self.call(self.inner.mark_target_success(applied)).await
    }

    async fn mark_target_error(&self, failed: &[TargetError]) -> Answer<Vec<Marked>> {
        self.call(self.inner.mark_target_error(failed)).await
    }

    async fn mark_credential_fully_propagated(&self, report: FullyPropagated) -> Answer<()> {
        self.call(self.inner.mark_credential_fully_propagated(report)).await
    }

    async fn reopen_rows(&self, request: ReopenRows) -> Answer<Reopened> {
        self.call(self.inner.reopen_rows(request)).await
    }

    async fn fetch_credentials(&self, request: FetchCredentials) -> Answer<CredentialPage> {
        self.call(self.inner.fetch_credentials(request)).await
    }

    async fn fetch_peers(&self) -> Answer<Vec<PeerQueue>> {
        self.call(self.inner.fetch_peers()).await
    }
}
