//! A management side that a test interferes with.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use hmac_propagator::id::{CredentialKey, PeerQueue};
use hmac_propagator::management::{
    CredentialPage, FetchCredentials, FetchPending, FullyPropagated, Management, ManagementError,
    Marked, MemoryManagement, PendingPage, ReopenRows, Reopened, RotateCredential, Rotated, RowKey,
    TargetError, TargetSent, TargetSuccess, UpsertCredential, Upserted,
};
use hmac_propagator::secret::PropagationSecret;

/// A callback that is being called, with the rows or the credential that it is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Upsert(CredentialKey),
    Rotate(CredentialKey),
    Fetch,
    Source(PeerQueue),
    Sent(Vec<RowKey>),
    Success(Vec<RowKey>),
    Error(Vec<RowKey>),
    Report(CredentialKey),
}

impl Call {
    /// Whether it is about this client.
    pub fn concerns(&self, client: &str) -> bool {
        match self {
            Self::Upsert(key) | Self::Rotate(key) | Self::Report(key) => {
                key.client_id.as_str() == client
            }
            Self::Sent(rows) | Self::Success(rows) | Self::Error(rows) => {
                rows.iter().any(|row| row.key.client_id.as_str() == client)
            }
            Self::Fetch | Self::Source(_) => false,
        }
    }
}

type Before = dyn Fn(Call) -> BoxFuture<'static, Result<(), ManagementError>> + Send + Sync;
type Page = dyn Fn(&mut PendingPage) + Send + Sync;

/// What a test does to the calls.
pub struct Script {
    before: Box<Before>,
    page: Box<Page>,
    ignores_revisions: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            before: Box::new(|_| Box::pin(async { Ok(()) })),
            page: Box::new(|_| {}),
            ignores_revisions: false,
        }
    }
}

impl Script {
    /// Runs before each call; the call fails if it fails.
    pub fn before<F>(mut self, before: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), ManagementError>> + Send + 'static,
    {
        self.before = Box::new(move |call| Box::pin(before(call)));
        self
    }

    /// Fails the calls that it says.
    pub fn fails(
        self,
        fail: impl Fn(&Call) -> Option<ManagementError> + Send + Sync + 'static,
    ) -> Self {
        self.before(move |call| std::future::ready(fail(&call).map_or(Ok(()), Err)))
    }

    /// Changes the pages of open work.
    pub fn page(mut self, page: impl Fn(&mut PendingPage) + Send + Sync + 'static) -> Self {
        self.page = Box::new(page);
        self
    }

    /// Takes every call for the revision that stands there, as an adapter without the guard does.
    pub fn ignores_revisions(mut self) -> Self {
        self.ignores_revisions = true;
        self
    }
}

/// A [`MemoryManagement`] behind a script. Clones share both.
#[derive(Clone)]
pub struct Between {
    inner: MemoryManagement,
    script: Arc<Script>,
    log: Arc<Mutex<Vec<Call>>>,
}

impl Between {
    pub fn new(inner: &MemoryManagement, script: Script) -> Self {
        Self { inner: inner.clone(), script: Arc::new(script), log: Arc::default() }
    }

    /// The calls, in order. `Sent` stands where its call ended, all others where they began: a
    /// `Sent` behind the `Success` of its row may have been written after it.
    pub fn log(&self) -> Vec<Call> {
        self.log.lock().unwrap().clone()
    }

    async fn begin(&self, call: Call) -> Result<(), ManagementError> {
        (self.script.before)(call.clone()).await?;
        self.note(call);
        Ok(())
    }

    fn note(&self, call: Call) {
        self.log.lock().unwrap().push(call);
    }

    /// The row as the call is taken to mean it.
    fn meant(&self, row: &RowKey) -> RowKey {
        let mut row = row.clone();
        if self.script.ignores_revisions {
            let standing = self.inner.rows(&row.key).into_iter().find(|r| r.target == row.target);
            row.revision = standing.map_or(row.revision, |standing| standing.revision);
        }
        row
    }
}

impl fmt::Debug for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Between").finish_non_exhaustive()
    }
}

#[async_trait]
impl Management for Between {
    async fn upsert_credential_with_targets(
        &self,
        request: UpsertCredential,
    ) -> Result<Upserted, ManagementError> {
        self.begin(Call::Upsert(request.key.clone())).await?;
        self.inner.upsert_credential_with_targets(request).await
    }

    async fn rotate_credential_secret(
        &self,
        request: RotateCredential,
    ) -> Result<Option<Rotated>, ManagementError> {
        self.begin(Call::Rotate(request.key.clone())).await?;
        self.inner.rotate_credential_secret(request).await
    }

    async fn fetch_pending_propagations(
        &self,
        request: FetchPending,
    ) -> Result<PendingPage, ManagementError> {
        self.begin(Call::Fetch).await?;
        let mut page = self.inner.fetch_pending_propagations(request).await?;
        (self.script.page)(&mut page);
        Ok(page)
    }

    async fn fetch_source_propagation_secret(
        &self,
        source: &PeerQueue,
    ) -> Result<Option<PropagationSecret>, ManagementError> {
        self.begin(Call::Source(source.clone())).await?;
        self.inner.fetch_source_propagation_secret(source).await
    }

    async fn mark_target_sent(&self, sent: &[TargetSent]) -> Result<(), ManagementError> {
        let call = Call::Sent(sent.iter().map(|entry| entry.row.clone()).collect());
        (self.script.before)(call.clone()).await?;
        let mut sent = sent.to_vec();
        sent.iter_mut().for_each(|entry| entry.row = self.meant(&entry.row));
        self.inner.mark_target_sent(&sent).await?;
        self.note(call);
        Ok(())
    }

    async fn mark_target_success(
        &self,
        applied: &[TargetSuccess],
    ) -> Result<Vec<Marked>, ManagementError> {
        let rows = applied.iter().map(|entry| entry.row.clone()).collect();
        self.begin(Call::Success(rows)).await?;
        let mut applied = applied.to_vec();
        applied.iter_mut().for_each(|entry| entry.row = self.meant(&entry.row));
        self.inner.mark_target_success(&applied).await
    }

    async fn mark_target_error(
        &self,
        failed: &[TargetError],
    ) -> Result<Vec<Marked>, ManagementError> {
        self.begin(Call::Error(failed.iter().map(|entry| entry.row.clone()).collect())).await?;
        let mut failed = failed.to_vec();
        failed.iter_mut().for_each(|entry| entry.row = self.meant(&entry.row));
        self.inner.mark_target_error(&failed).await
    }

    async fn mark_credential_fully_propagated(
        &self,
        mut report: FullyPropagated,
    ) -> Result<(), ManagementError> {
        self.begin(Call::Report(report.key.clone())).await?;
        if self.script.ignores_revisions {
            let standing = self.inner.credential(&report.key);
            report.revision = standing.map_or(report.revision, |standing| standing.revision);
        }
        self.inner.mark_credential_fully_propagated(report).await
    }

    async fn reopen_rows(&self, request: ReopenRows) -> Result<Reopened, ManagementError> {
        self.inner.reopen_rows(request).await
    }

    async fn fetch_credentials(
        &self,
        request: FetchCredentials,
    ) -> Result<CredentialPage, ManagementError> {
        self.inner.fetch_credentials(request).await
    }

    async fn fetch_peers(&self) -> Result<Vec<PeerQueue>, ManagementError> {
        self.inner.fetch_peers().await
    }
}
