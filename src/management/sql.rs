//! A management side in a SQL database: SQLite, PostgreSQL or MariaDB.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use hmac_propagator::management::sql::{KeyRing, LocalKey, SqlManagement};
//!
//! let keys = KeyRing::new(LocalKey::from_env("2026-11", "SQL_KEY")?);
//! let management =
//!     SqlManagement::options().keys(keys).connect("sqlite:/var/lib/mesh/credentials.db").await?;
//! # let _ = management; Ok(()) }
//! ```
//!
//! The tables are made when they are not there; `docs/sql-schema.md` explains every column. What
//! holds beyond the rules of [`Management`]:
//!
//! * Every callback is one transaction. A transaction that loses against another one (a deadlock,
//!   two workers that create one credential) is run again before it counts as failed.
//! * Rows that a page of open work hands out are claimed for a while: two workers on one database
//!   do not both publish them, also when they do not share a Redis. A worker that stalls for longer
//!   than its claim, and comes back after another one took its row, changes nothing.
//! * A call whose future is dropped runs to its end all the same; only its answer is lost.
//! * Each change is in the audit, in the same transaction.
//! * With a [`KeyRing`], hashes, propagation secrets and plain secrets are encrypted; without, they
//!   stand in the tables as text, as in other management databases.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    CredentialPage, FetchCredentials, FetchPending, FullyPropagated, Management, ManagementError,
    Marked, PendingPage, ReopenRows, Reopened, RotateCredential, Rotated, TargetError, TargetSent,
    TargetSuccess, UpsertCredential, Upserted,
};
use crate::clock::Clock;
use crate::id::{Actor, ClientId, CredentialKey, PeerQueue, Revision};
use crate::secret::PropagationSecret;

/// Runs a transaction to its end in a task of its own, with shared ownership of what it needs.
macro_rules! run {
    ($management:expr, $inner:ident, [$($argument:ident),*], $transaction:expr) => {{
        $(let $argument = std::sync::Arc::new($argument);)*
        $management
            .detached(move |$inner| {
                $(let $argument = $argument.clone();)*
                async move { $transaction.await }
            })
            .await
    }};
}

mod audit;
mod cipher;
mod connect;
mod db;
mod decide;
mod dialect;
mod explain;
mod failure;
mod keys;
mod marks;
mod operators;
mod options;
mod peers;
mod pending;
mod reencrypt;
mod reports;
mod rotation;
mod row;
mod schema;
mod stored;
mod upkeep;
mod vault;

pub use audit::{AuditAction, AuditCheck, AuditEntry, AuditHead, AuditQuery};
pub use keys::{DataKey, KeyEncryption, KeyRing, LocalKey, Passphrase};
pub use operators::{
    CredentialInfo, DueRotation, NewTarget, OperatorError, TargetBacklog, TargetChange, TargetInfo,
    TargetState,
};
pub use options::SqlOptions;
pub use reencrypt::Reencryption;
pub use rotation::RotationPolicy;

use db::{Db, Record};
use failure::Failure;
use marks::Mark;
use reports::Reports;
use vault::Vault;

/// A management side in a SQL database. Clones share its connections.
#[derive(Clone)]
pub struct SqlManagement {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    db: Db,
    vault: Arc<Vault>,
    /// Names this process's claims: 16 hex digits.
    worker: String,
    /// Who the audit names for what the propagator does.
    actor: String,
    own: Option<PeerQueue>,
    lease: Duration,
    reports: Arc<Reports>,
    /// For what operators do; callbacks bring their own time.
    clock: Arc<dyn Clock>,
}

impl SqlManagement {
    /// Opens the database that the URL names, with the default options: `sqlite:path`,
    /// `sqlite::memory:`, `postgres://user:password@host/database` or
    /// `mysql://user:password@host/database` (MariaDB 10.6 or newer).
    ///
    /// # Errors
    /// As [`SqlOptions::connect`].
    pub async fn connect(url: &str) -> Result<Self, ManagementError> {
        Self::options().connect(url).await
    }

    /// Options for a connection.
    pub fn options() -> SqlOptions {
        SqlOptions::default()
    }

    /// The same, for another person or process: whom the audit names for what is done through it.
    #[must_use]
    pub fn acting_as(&self, actor: &Actor) -> Self {
        let actor = actor.as_str().to_owned();
        // Reports that wait together are recorded under one actor.
        let reports = Arc::default();
        Self { inner: Arc::new(Inner { actor, reports, ..Inner::clone(&self.inner) }) }
    }

    /// Entries of the audit, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, ManagementError> {
        let query = query.clone();
        Ok(run!(self, inner, [query], audit::query(&inner.db, &query))?)
    }

    /// How many entries the audit has of these; the query's limit does not count.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_count(&self, query: &AuditQuery) -> Result<u64, ManagementError> {
        let query = query.clone();
        Ok(run!(self, inner, [query], audit::count(&inner.db, &query))?)
    }

    /// Follows the audit's chain from its start. `known`, an end that was seen before and kept
    /// elsewhere, must be in it: without one, a chain that was cut off at its end, or made anew from
    /// some entry on, is not told from the true one.
    ///
    /// # Errors
    /// When the database fails. A broken chain is no error: see [`AuditCheck`].
    pub async fn verify_audit(
        &self,
        known: Option<&AuditHead>,
    ) -> Result<AuditCheck, ManagementError> {
        let known = known.cloned();
        Ok(run!(self, inner, [known], audit::verify(&inner.db, Option::as_ref(&known)))?)
    }

    /// Runs a transaction, again while it loses against others, in a task of its own: a caller that
    /// gives up in its midst would otherwise leave a connection in a state from which the MySQL
    /// driver does not find back, with its locks held.
    async fn detached<T, F>(
        &self,
        transaction: impl Fn(Arc<Inner>) -> F + Send + Sync + 'static,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let inner = self.inner.clone();
        let running =
            tokio::spawn(async move { inner.db.settled(|| transaction(inner.clone())).await });
        running.await.unwrap_or_else(|error| {
            let message = "the task of a transaction did not come to its end";
            Err(ManagementError::transient(message).with_source(error).into())
        })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn ping(&self) -> Result<(), ManagementError> {
        Ok(run!(self, inner, [], ping(&inner))?)
    }

    /// The database's clock, in milliseconds since the epoch. SQLite has no other than this process.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn time_ms(&self) -> Result<u64, ManagementError> {
        Ok(run!(self, inner, [], now_ms(&inner))?)
    }

    /// Closes all connections, after the calls that are under way.
    pub async fn close(&self) {
        self.inner.db.close().await;
    }
}

#[async_trait]
impl Management for SqlManagement {
    async fn upsert_credential_with_targets(
        &self,
        request: UpsertCredential,
    ) -> Result<Upserted, ManagementError> {
        Ok(run!(self, inner, [request], decide::upsert(&inner, &request))?)
    }

    async fn rotate_credential_secret(
        &self,
        request: RotateCredential,
    ) -> Result<Option<Rotated>, ManagementError> {
        Ok(run!(self, inner, [request], decide::rotate(&inner, &request))?)
    }

    async fn fetch_pending_propagations(
        &self,
        request: FetchPending,
    ) -> Result<PendingPage, ManagementError> {
        Ok(run!(self, inner, [request], pending::fetch(&inner, &request))?)
    }

    async fn fetch_source_propagation_secret(
        &self,
        source: &PeerQueue,
    ) -> Result<Option<PropagationSecret>, ManagementError> {
        let source = source.clone();
        Ok(run!(self, inner, [source], peers::secret(&inner, &source))?)
    }

    async fn mark_target_sent(&self, sent: &[TargetSent]) -> Result<(), ManagementError> {
        let marks: Vec<Mark> = sent.iter().cloned().map(Mark::Sent).collect();
        run!(self, inner, [marks], marks::apply(&inner, &marks))?;
        Ok(())
    }

    async fn mark_target_success(
        &self,
        applied: &[TargetSuccess],
    ) -> Result<Vec<Marked>, ManagementError> {
        let marks: Vec<Mark> = applied.iter().cloned().map(Mark::Success).collect();
        Ok(run!(self, inner, [marks], marks::apply(&inner, &marks))?)
    }

    async fn mark_target_error(
        &self,
        failed: &[TargetError],
    ) -> Result<Vec<Marked>, ManagementError> {
        let marks: Vec<Mark> = failed.iter().cloned().map(Mark::Error).collect();
        Ok(run!(self, inner, [marks], marks::apply(&inner, &marks))?)
    }

    async fn mark_credential_fully_propagated(
        &self,
        report: FullyPropagated,
    ) -> Result<(), ManagementError> {
        reports::report(self.inner.clone(), report).await
    }

    async fn reopen_rows(&self, request: ReopenRows) -> Result<Reopened, ManagementError> {
        Ok(run!(self, inner, [request], upkeep::reopen(&inner, &request))?)
    }

    async fn fetch_credentials(
        &self,
        request: FetchCredentials,
    ) -> Result<CredentialPage, ManagementError> {
        Ok(run!(self, inner, [request], upkeep::credentials(&inner, &request))?)
    }

    async fn fetch_peers(&self) -> Result<Vec<PeerQueue>, ManagementError> {
        Ok(run!(self, inner, [], peers::list(&inner))?)
    }
}

/// Says nothing of the database: its URL may have a password in it.
impl fmt::Debug for SqlManagement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlManagement").field("actor", &self.inner.actor).finish_non_exhaustive()
    }
}

async fn ping(inner: &Inner) -> Result<(), Failure> {
    let mut tx = inner.db.begin_reading().await?;
    tx.fetch("SELECT 1 AS here", Vec::new()).await?;
    Ok(())
}

async fn now_ms(inner: &Inner) -> Result<u64, Failure> {
    let mut tx = inner.db.begin_reading().await?;
    let sql = format!("SELECT {} AS now", tx.dialect().now_ms());
    let record = tx.fetch_one(&sql, Vec::new()).await?;
    record.map_or(Ok(0), |record| record.count("now"))
}

/// The credential that a row names; `None` when somebody stored a name that is none.
fn key_of(record: &Record) -> Result<Option<CredentialKey>, Failure> {
    let (track, client) = (record.text("track")?, record.text("client_id")?);
    let key = track.parse().ok().zip(ClientId::new(client).ok());
    Ok(key.map(|(track, client_id)| CredentialKey { track, client_id }))
}

fn revision_of(record: &Record) -> Result<Revision, Failure> {
    let revision = Revision::new(record.count("revision")?);
    Ok(revision
        .map_err(|e| ManagementError::permanent("a stored revision is none").with_source(e))?)
}
