//! An authority that exists as a configuration only, and targets in this process.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use hmac_propagator::broker::BrokerOptions;
use hmac_propagator::id::{ClientId, PeerQueue, Track};
use hmac_propagator::management::sql::SqlManagement;
use hmac_propagator::propagator::Propagator;
use hmac_propagator::secret::{BrokerPassword, PropagationSecret, SecretHash};
use hmac_propagator::state::{MemoryState, RedisState};
use hmac_propagator::store::{CredentialStore, MemoryCredentialStore, RedisCredentialStore};
use hmac_propagator_support::{Broker, Redis, Scratch, Vhost, free_address};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// For what happens in moments.
pub(crate) const SOON: Duration = Duration::from_secs(30);

const AUTHORITY_SECRET: &str = "s3cret-of-the-authority";
const PEPPER: &str = "s3cret-pepper";

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn ends_with(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

/// Servers of one test, and the environment that names them.
pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) vhost: Vhost,
    pub(crate) redis: Redis,
    pub(crate) scratch: Scratch,
    pub(crate) environment: BTreeMap<String, String>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let broker = Broker::start().await.unwrap();
        let vhost = broker.vhost().await.unwrap();
        let redis = Redis::start().await.unwrap();
        let scratch = Scratch::new().unwrap();
        let database = format!("sqlite:{}/authority.db", scratch.path().display());
        let environment = [
            ("AMQP_HOST", broker.address().ip().to_string()),
            ("AMQP_PORT", broker.address().port().to_string()),
            ("AMQP_USER", "tester".to_owned()),
            ("AMQP_PASSWORD", broker.password().to_owned()),
            ("AMQP_VHOST", vhost.name().to_owned()),
            ("AMQP_QUEUE", "authority".to_owned()),
            ("PROPAGATION_SECRET", AUTHORITY_SECRET.to_owned()),
            ("HMAC_SECRET_TOKEN", PEPPER.to_owned()),
            ("REDIS_URL", redis.url()),
            ("DATABASE_URL", database),
            ("USER", "op".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        Self { broker, vhost, redis, scratch, environment }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// An address where nothing listens.
    pub(crate) fn nowhere() -> String {
        free_address().unwrap().to_string()
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, b"").await
    }

    pub(crate) async fn run_with(&self, arguments: &[&str], stdin: &[u8]) -> Ran {
        let mut child = self.spawn(arguments);
        let mut input = child.stdin.take().unwrap();
        // A command that does not read its input may have ended by now.
        let _ = input.write_all(stdin).await;
        drop(input);
        self.finish(child).await
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_propagator"))
            .args(arguments)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Waits for its end. Nothing that it printed has a configured secret in it.
    pub(crate) async fn finish(&self, child: Child) -> Ran {
        let ended = tokio::time::timeout(Duration::from_secs(90), child.wait_with_output()).await;
        let output = ended.expect("it ends in time").unwrap();
        let ran = Ran {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        let secret = [
            "PROPAGATION_SECRET",
            "HMAC_SECRET_TOKEN",
            "AMQP_PASSWORD",
            "CLIENT_SECRET",
            "TARGET_SECRET",
        ];
        for value in secret.iter().filter_map(|name| self.environment.get(*name)) {
            assert!(!ran.stdout.contains(value) && !ran.stderr.contains(value), "{value}: {ran:?}");
        }
        assert!(!ran.stdout.contains("s3cret") && !ran.stderr.contains("s3cret"), "{ran:?}");
        ran
    }

    /// Puts a peer into the directory.
    pub(crate) async fn add_target(&self, name: &str) {
        let arguments = ["targets", "add", name, "--secret-file", "-"];
        self.run_with(&arguments, secret_of(name).as_bytes()).await.ends_with(0);
    }

    /// A target that runs, with the secret that the directory has for it.
    pub(crate) async fn start_target(&self, name: &str) -> Target {
        self.start_target_with(name, &secret_of(name)).await
    }

    pub(crate) async fn start_target_with(&self, name: &str, secret: &str) -> Target {
        let state = MemoryState::new();
        let store = MemoryCredentialStore::new(state.clone(), Track::Http, "hmac:http");
        let secret = PropagationSecret::new(secret).unwrap();
        let peer = Propagator::builder(self.broker_options(), queue(name), secret, state)
            .credential_store(store.clone())
            .source_secret(queue("authority"), PropagationSecret::new(AUTHORITY_SECRET).unwrap())
            .start()
            .await
            .unwrap();
        tokio::time::timeout(SOON, peer.ready()).await.unwrap().unwrap();
        Target { peer, store }
    }

    /// The authority as a service that runs beside the commands.
    pub(crate) async fn start_authority(&self) -> Propagator {
        let redis = RedisState::open(&self.redis.url()).unwrap();
        let store = RedisCredentialStore::new(redis.clone(), Track::Http, "hmac:http");
        let secret = PropagationSecret::new(AUTHORITY_SECRET).unwrap();
        let peer = Propagator::builder(self.broker_options(), queue("authority"), secret, redis)
            .credential_store(store)
            .management(self.management().await)
            .start()
            .await
            .unwrap();
        tokio::time::timeout(SOON, peer.ready()).await.unwrap().unwrap();
        peer
    }

    pub(crate) async fn management(&self) -> SqlManagement {
        SqlManagement::connect(&self.environment["DATABASE_URL"]).await.unwrap()
    }

    fn broker_options(&self) -> BrokerOptions {
        let address = self.broker.address();
        BrokerOptions::new("tester", BrokerPassword::new(self.broker.password()))
            .address(address.ip().to_string(), address.port())
            .vhost(self.vhost.name())
    }
}

/// A peer in this process.
pub(crate) struct Target {
    /// Runs as long as this lives.
    peer: Propagator,
    store: MemoryCredentialStore,
}

impl Target {
    pub(crate) async fn close(self) {
        self.peer.close().await;
    }

    pub(crate) async fn hash_of(&self, client: &str) -> Option<SecretHash> {
        let held = self.store.get(&ClientId::new(client).unwrap()).await.unwrap();
        held.map(|credential| credential.secret_hash)
    }
}

/// The hash that the authority makes of a secret.
pub(crate) fn hash_of(secret: &str) -> SecretHash {
    use hmac_propagator::secret::SecretToken;
    hmac_propagator::auth::hash_secret_text(secret, &SecretToken::new(PEPPER))
}

pub(crate) fn queue(name: &str) -> PeerQueue {
    PeerQueue::new(name).unwrap()
}

pub(crate) fn secret_of(name: &str) -> String {
    format!("s3cret-of-{name}")
}
