//! What a peer is made of, as an operator says it: a TOML file, the environment over it, flags over
//! both.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use hmac_propagator::auth::TrustedProxies;
use hmac_propagator::broker::BrokerOptions;
use hmac_propagator::id::PeerQueue;
use hmac_propagator::management::sql::KeyRing;
use hmac_propagator::secret::{PropagationSecret, SecretToken};

mod arguments;
mod build;
mod database;
mod hidden;
pub(crate) mod keys;
#[cfg(any(test, fuzzing))]
pub(crate) mod laws;
mod layers;
mod problem;
mod reader;
mod shown;

pub(crate) use arguments::ConfigArgs;
pub(crate) use hidden::Hidden;
pub(crate) use problem::Problems;
pub(crate) use reader::duration;
pub(crate) use shown::Shown;

/// A usable configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) broker: BrokerOptions,
    /// This peer's own queue.
    pub(crate) queue: PeerQueue,
    pub(crate) propagation_secret: PropagationSecret,
    /// The pepper.
    pub(crate) secret_token: SecretToken,
    /// `None`: only when asked.
    pub(crate) sync_interval: Option<Duration>,
    /// Peers that are to be told when the store here was lost.
    pub(crate) sources: Vec<PeerQueue>,
    /// For how long the secret before a rotation is accepted; `None`: not at all.
    pub(crate) overlap: Option<Duration>,
    pub(crate) redis_url: Hidden,
    pub(crate) http_namespace: String,
    pub(crate) message_namespace: String,
    /// Other peers whose stores are shown.
    pub(crate) peers: Vec<OtherPeer>,
    /// `None`: receive-only.
    pub(crate) database: Option<Database>,
    pub(crate) http: Http,
    pub(crate) log: Log,
    pub(crate) shutdown_deadline: Duration,
    shown: Vec<Shown>,
}

/// A peer whose store can be looked into.
#[derive(Clone, Debug)]
pub(crate) struct OtherPeer {
    pub(crate) name: String,
    pub(crate) redis_url: Hidden,
}

/// Where a peer that decides keeps its rows.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) url: Hidden,
    /// `None`: not encrypted.
    pub(crate) keys: Option<KeyRing>,
}

/// How `serve` is spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) host: IpAddr,
    /// 0: any that is free.
    pub(crate) port: u16,
    /// Always there when `host` is not loopback.
    pub(crate) admin_token: Option<Hidden>,
    /// Exact origins, as `https://a.example:8443`, without the scheme's own port.
    pub(crate) call_target_origins: Vec<String>,
    /// Likewise.
    pub(crate) cors_origins: Vec<String>,
    pub(crate) trusted_proxies: TrustedProxies,
}

/// How the log is written.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    /// Known to be a valid filter.
    pub(crate) filter: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What the configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It listens, so what it listens on must be guarded.
    Serve,
    /// It does not.
    Operate,
}

impl Config {
    /// Reads what was given.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub(crate) fn load(arguments: &ConfigArgs, purpose: Purpose) -> Result<Self, Problems> {
        let files = |path: &Path| std::fs::read_to_string(path);
        build::load(arguments, &|name| std::env::var_os(name), &files, purpose)
    }

    /// Every key with its value, or that it is hidden, and where it comes from.
    pub(crate) fn shown(&self) -> &[Shown] {
        &self.shown
    }
}

#[cfg(test)]
mod document;
#[cfg(test)]
mod tests;
