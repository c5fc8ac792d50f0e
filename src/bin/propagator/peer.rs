//! From a configuration to the parts of a peer.

use std::sync::Arc;
use std::time::Duration;

use hmac_propagator::id::Track;
use hmac_propagator::management::ManagementError;
use hmac_propagator::management::sql::SqlManagement;
use hmac_propagator::propagator::{Builder, Propagator};
use hmac_propagator::state::RedisState;
use hmac_propagator::store::RedisCredentialStore;
use hmac_propagator::verify::{Verifier, VerifierBuilder};
use tokio_rustls::rustls::crypto::aws_lc_rs;

use crate::config::{Config, Database, Hidden};
use crate::fault::{Exit, Fault};

/// The parts of a peer. Nothing of it has connected yet but the database.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) config: Arc<Config>,
    pub(crate) state: RedisState,
    /// The credentials of requests.
    pub(crate) http: RedisCredentialStore,
    /// The credentials of messages.
    pub(crate) message: RedisCredentialStore,
    /// `None`: receive-only.
    pub(crate) management: Option<SqlManagement>,
}

impl Peer {
    /// Opens the stores and, where there is one, the database. Redis and the broker may be away.
    /// `actor`: whom the audit names.
    ///
    /// # Errors
    /// `Unreachable` when the database cannot be reached now, else a matter of configuration. Must be
    /// called inside a tokio runtime.
    pub(crate) async fn assemble(config: Arc<Config>, actor: &str) -> Result<Self, Fault> {
        let management = match &config.database {
            Some(database) => Some(open_database(&config, database, actor).await?),
            None => None,
        };
        Self::with_management(config, management)
    }

    /// The same with a management side that is open already, or none.
    pub(crate) fn with_management(
        config: Arc<Config>,
        management: Option<SqlManagement>,
    ) -> Result<Self, Fault> {
        install_crypto();
        let state = open_redis(&config.redis_url)?;
        let store = |track, namespace: &String| {
            let store = RedisCredentialStore::new(state.clone(), track, namespace);
            match config.overlap {
                Some(overlap) => store.backup_ttl(overlap),
                None => store,
            }
        };
        let http = store(Track::Http, &config.http_namespace);
        let message = store(Track::Message, &config.message_namespace);
        Ok(Self { config, state, http, message, management })
    }

    /// A propagator ready to start, that does not sync by itself.
    pub(crate) fn builder(&self) -> Builder {
        let config = &self.config;
        let builder = Propagator::builder(
            config.broker.clone(),
            config.queue.clone(),
            config.propagation_secret.clone(),
            self.state.clone(),
        )
        .credential_store(self.http.clone())
        .credential_store(self.message.clone())
        .secret_token(config.secret_token.clone())
        .close_deadline(config.shutdown_deadline);
        let builder = config.sources.iter().cloned().fold(builder, Builder::source);
        match &self.management {
            Some(management) => builder.management(management.clone()),
            None => builder,
        }
    }

    /// A verifier of requests.
    pub(crate) fn verifier(&self) -> VerifierBuilder {
        Verifier::builder(self.http.clone()).overlap(self.config.overlap.is_some())
    }
}

/// The database alone.
///
/// # Errors
/// As [`Peer::assemble`].
pub(crate) async fn open_database(
    config: &Config,
    database: &Database,
    actor: &str,
) -> Result<SqlManagement, Fault> {
    install_crypto();
    let mut options = SqlManagement::options().actor(actor).own_queue(config.queue.clone());
    if let Some(keys) = &database.keys {
        options = options.keys(keys.clone());
    }
    let opened = tokio::time::timeout(PATIENCE, options.connect(database.url.expose())).await;
    match opened {
        Ok(opened) => opened.map_err(|error| database_fault("cannot open the database", error)),
        Err(_) => {
            Err(Fault::new("cannot open the database: no answer in time").exit(Exit::Unreachable))
        }
    }
}

/// Longer than the library waits for one connection.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a failure of the database means to the caller.
pub(crate) fn database_fault(message: &str, error: ManagementError) -> Fault {
    let exit = if error.is_transient() { Exit::Unreachable } else { Exit::Usage };
    Fault::because(message, error).exit(exit)
}

/// A Redis, of this peer or of another one.
pub(crate) fn open_redis(url: &Hidden) -> Result<RedisState, Fault> {
    RedisState::open(url.expose()).map_err(|error| Fault::because("cannot use REDIS_URL", error))
}

/// TLS in this process is done by one provider. The library leaves the choice to the binary; that it
/// was made already is fine.
pub(crate) fn install_crypto() {
    let _ = aws_lc_rs::default_provider().install_default();
}
