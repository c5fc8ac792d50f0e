//! A management side that shows all it is given and gives.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hmac_propagator::id::PeerQueue;
use hmac_propagator::management::{
    CredentialPage, Decision, FetchCredentials, FetchPending, FullyPropagated, Management,
    ManagementError, Marked, MemoryManagement, PendingPage, ReopenRows, Reopened, RotateCredential,
    Rotated, TargetError, TargetSent, TargetSuccess, UpsertCredential, Upserted,
};
use hmac_propagator::secret::PropagationSecret;

/// A [`MemoryManagement`] whose traffic is kept as `Debug` prints it.
#[derive(Clone, Debug)]
pub struct Telling {
    pub inner: MemoryManagement,
    told: Arc<Mutex<String>>,
    /// The plain secrets that it was handed.
    plain: Arc<Mutex<Vec<String>>>,
}

impl Telling {
    pub fn new(inner: MemoryManagement) -> Self {
        Self { inner, told: Arc::default(), plain: Arc::default() }
    }

    pub fn text(&self) -> String {
        self.told.lock().unwrap().clone()
    }

    pub fn plain(&self) -> Vec<String> {
        self.plain.lock().unwrap().clone()
    }

    fn tell<T: Debug>(&self, what: T) -> T {
        self.told.lock().unwrap().push_str(&format!("\n{what:?}"));
        what
    }

    fn keep(&self, plain: Option<&hmac_propagator::secret::ClientSecret>) {
        self.plain.lock().unwrap().extend(plain.map(|plain| plain.expose().to_owned()));
    }
}

#[async_trait]
impl Management for Telling {
    async fn upsert_credential_with_targets(
        &self,
        request: UpsertCredential,
    ) -> Result<Upserted, ManagementError> {
        let request = self.tell(request);
        if let Decision::Put { plain_secret, .. } = &request.decision {
            self.keep(plain_secret.as_ref());
        }
        self.tell(self.inner.upsert_credential_with_targets(request).await)
    }

    async fn rotate_credential_secret(
        &self,
        request: RotateCredential,
    ) -> Result<Option<Rotated>, ManagementError> {
        self.keep(request.plain_secret.as_ref());
        self.tell(self.inner.rotate_credential_secret(self.tell(request)).await)
    }

    async fn fetch_pending_propagations(
        &self,
        request: FetchPending,
    ) -> Result<PendingPage, ManagementError> {
        self.tell(self.inner.fetch_pending_propagations(self.tell(request)).await)
    }

    async fn fetch_source_propagation_secret(
        &self,
        source: &PeerQueue,
    ) -> Result<Option<PropagationSecret>, ManagementError> {
        self.tell(self.inner.fetch_source_propagation_secret(source).await)
    }

    async fn mark_target_sent(&self, sent: &[TargetSent]) -> Result<(), ManagementError> {
        self.tell(self.inner.mark_target_sent(self.tell(sent)).await)
    }

    async fn mark_target_success(
        &self,
        applied: &[TargetSuccess],
    ) -> Result<Vec<Marked>, ManagementError> {
        self.tell(self.inner.mark_target_success(self.tell(applied)).await)
    }

    async fn mark_target_error(
        &self,
        failed: &[TargetError],
    ) -> Result<Vec<Marked>, ManagementError> {
        self.tell(self.inner.mark_target_error(self.tell(failed)).await)
    }

    async fn mark_credential_fully_propagated(
        &self,
        report: FullyPropagated,
    ) -> Result<(), ManagementError> {
        self.tell(self.inner.mark_credential_fully_propagated(self.tell(report)).await)
    }

    async fn reopen_rows(&self, request: ReopenRows) -> Result<Reopened, ManagementError> {
        let request = self.tell(request);
        self.tell(self.inner.reopen_rows(request).await)
    }

    async fn fetch_credentials(
        &self,
        request: FetchCredentials,
    ) -> Result<CredentialPage, ManagementError> {
        let request = self.tell(request);
        self.tell(self.inner.fetch_credentials(request).await)
    }

    async fn fetch_peers(&self) -> Result<Vec<PeerQueue>, ManagementError> {
        self.tell(self.inner.fetch_peers().await)
    }
}
