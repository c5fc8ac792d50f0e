//! How a database is opened.

use std::sync::Arc;
use std::time::Duration;

use super::db::Db;
use super::failure::Failure;
use super::keys::KeyRing;
use super::vault::Vault;
use super::{Inner, SqlManagement, cipher, connect, schema};
use crate::clock::{Clock, SystemClock};
use crate::entropy::{Entropy, OsEntropy};
use crate::id::{Actor, PeerQueue};
use crate::management::ManagementError;

/// Rows of a worker that died come free after it.
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// How a [`SqlManagement`] works. Everything has a default.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `connect`"]
pub struct SqlOptions {
    keys: Option<KeyRing>,
    actor: String,
    own: Option<PeerQueue>,
    lease: Duration,
    connections: u32,
    migrate: bool,
    clock: Arc<dyn Clock>,
}

impl Default for SqlOptions {
    fn default() -> Self {
        Self {
            keys: None,
            actor: "propagator".to_owned(),
            own: None,
            lease: Duration::from_secs(60),
            connections: 8,
            migrate: true,
            clock: Arc::new(SystemClock),
        }
    }
}

impl SqlOptions {
    /// Encrypts what must stay readable. Default: it is not encrypted. A database that was filled
    /// without keys has to be re-encrypted once, see [`SqlManagement::reencrypt`].
    pub fn keys(mut self, keys: KeyRing) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Whom the audit names for what this process does: 1 to 256 bytes without control characters.
    /// Default: `propagator`.
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = actor.into();
        self
    }

    /// This peer's own queue: it is refused in the directory of targets.
    pub fn own_queue(mut self, queue: PeerQueue) -> Self {
        self.own = Some(queue);
        self
    }

    /// For how long rows that were fetched are kept from other workers on the same database. Longer
    /// than a sync needs for a page; at most a day. Default: 60 s.
    pub fn claim_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Most connections at a time. Default: 8.
    pub fn connections(mut self, most: u32) -> Self {
        self.connections = most.max(1);
        self
    }

    /// Whether to make or upgrade the tables. Default: yes. Without, they must be up to date, as
    /// where another user than the service's may change them.
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// The clock for what operators do. Default: the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Opens the database.
    ///
    /// # Errors
    /// Transient when it cannot be reached. Permanent for options outside their range, for a URL that
    /// names none of the three, for tables of a newer release, and for data keys under a key that is
    /// not given.
    pub async fn connect(self, url: &str) -> Result<SqlManagement, ManagementError> {
        self.check()?;
        let db = connect::connect(url, self.connections).await?;
        if self.migrate {
            schema::migrate(&db).await?;
        }
        let vault = Vault::new(self.keys);
        db.settled(|| open(&db, &vault)).await?;
        Ok(SqlManagement {
            inner: Arc::new(Inner {
                db,
                vault,
                worker: cipher::to_hex(&OsEntropy.bytes16()[..8]),
                actor: self.actor,
                own: self.own,
                lease: self.lease,
                reports: Arc::default(),
                clock: self.clock,
            }),
        })
    }
}

impl SqlOptions {
    /// What would otherwise show only when a statement fails.
    fn check(&self) -> Result<(), ManagementError> {
        let refused = |message: &str| Err(ManagementError::permanent(message));
        if Actor::new(self.actor.as_str()).is_err() {
            return refused(
                "actor: expected 1 to 256 bytes, not blank, without control characters",
            );
        }
        if self.lease.is_zero() || self.lease > LONGEST_LEASE {
            return refused("claim_lease: expected more than nothing and at most a day");
        }
        let Some(ring) = &self.keys else { return Ok(()) };
        let mut ids = Vec::new();
        for key in std::iter::once(&ring.current).chain(&ring.older) {
            if key.id().is_empty() || key.id().len() > 128 || key.id().contains('\0') {
                return refused("keys: expected key ids of 1 to 128 bytes, without NUL");
            }
            if ids.contains(&key.id()) {
                return refused("keys: expected a different id for each key of the ring");
            }
            ids.push(key.id());
        }
        Ok(())
    }
}

/// Reads the data keys, and makes the first one where there is a key ring. Replicas that start
/// together must not make two, so the end of the audit is locked while it is stored; but not while
/// keys are wrapped and unwrapped, because a passphrase takes its time for each.
async fn open(db: &Db, vault: &Vault) -> Result<(), Failure> {
    let mut tx = db.begin_reading().await?;
    vault.load(&mut tx).await?;
    drop(tx);
    if vault.has_active_key() {
        return Ok(());
    }
    let Some(new) = vault.make().await? else { return Ok(()) };
    let mut tx = db.begin().await?;
    super::audit::head(&mut tx, true).await?;
    let found = "SELECT COUNT(*) AS found FROM hmac_data_keys WHERE active = 1";
    let found = tx.fetch_one(found, Vec::new()).await?;
    if found.map_or(Ok(0), |record| record.count("found"))? == 0 {
        Vault::store(&mut tx, &new).await?;
        tx.commit().await?;
        vault.know(new);
        return Ok(());
    }
    drop(tx);
    let mut tx = db.begin_reading().await?;
    vault.load(&mut tx).await
}
