//! What makes a peer: an environment with the names that every implementation knows, and files with
//! its secrets. Nothing of it stands on a command line.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hmac_propagator::entropy::{Entropy, OsEntropy};
use hmac_propagator_support::{Database, Redis, Vhost};
use reqwest::Url;

use crate::Result;
use crate::process::{Process, program};

/// A place in the mesh, whoever takes it.
pub(crate) struct Seat {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) secrets: Secrets,
    pub(crate) address: SocketAddr,
    // Ends before what it uses.
    pub(crate) process: Option<Process>,
    pub(crate) redis: Redis,
    pub(crate) database: Option<Base>,
    directory: PathBuf,
}

/// What a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Decides, with a database on a server.
    Authority,
    /// Decides, with a database of its own in a file.
    Full,
    /// As `Full`; after a rotation it accepts the old secret for a while.
    Overlapping,
    /// Applies and answers.
    ReceiveOnly,
    /// A service that embeds the library. It knows the authority's secret, so it signs its answers.
    Service,
}

/// A peer's secrets.
#[derive(Clone)]
pub(crate) struct Secrets {
    pub(crate) propagation: String,
    pub(crate) pepper: String,
    pub(crate) admin_token: String,
    pub(crate) database_key: String,
}

/// A peer's database.
pub(crate) enum Base {
    Server(Database),
    File(PathBuf),
}

/// What all peers of a mesh are told alike.
pub(crate) struct Surroundings {
    pub(crate) broker: Url,
    /// The authority's propagation secret, for those who know it from elsewhere than a directory.
    pub(crate) source: (&'static str, String),
    /// `name=redis-url` of all peers, separated by commas.
    pub(crate) stores: String,
    /// Where test calls may go.
    pub(crate) origins: String,
}

impl Role {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Authority => "full, decides here",
            Self::Full => "full",
            Self::Overlapping => "full, with an overlap",
            Self::ReceiveOnly => "receive-only",
            Self::Service => "a service, receive-only",
        }
    }

    /// Whether its answers prove who answered.
    pub(crate) fn signs(self) -> bool {
        self != Self::ReceiveOnly
    }

    fn program(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Service => ("poc-service", &[]),
            _ => ("propagator", &["serve"]),
        }
    }
}

impl Secrets {
    pub(crate) fn draw() -> Self {
        Self {
            propagation: random(),
            pepper: random(),
            admin_token: random(),
            database_key: random() + &random(),
        }
    }
}

impl Seat {
    /// Below the mesh's directory.
    pub(crate) fn new(
        name: &'static str,
        role: Role,
        secrets: Secrets,
        redis: Redis,
        database: Option<Database>,
        below: &Path,
    ) -> Result<Self> {
        let directory = below.join(name);
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        let file = || Base::File(directory.join("credentials.db"));
        let own = matches!(role, Role::Full | Role::Overlapping).then(file);
        let database = database.map(Base::Server).or(own);
        let address = hmac_propagator_support::free_address()?;
        Ok(Self { name, role, secrets, address, process: None, redis, database, directory })
    }

    /// Another port, when something else has taken this one meanwhile.
    pub(crate) fn move_away(&mut self) -> Result<()> {
        self.process = None;
        self.address = hmac_propagator_support::free_address()?;
        Ok(())
    }

    /// Starts its process, with a port that is the same each time.
    pub(crate) fn start(&mut self, surroundings: &Surroundings) -> Result<()> {
        let (name, arguments) = self.role.program();
        let environment = self.environment(surroundings)?;
        let process = Process::start(&program(name)?, arguments, &environment, &self.log())?;
        self.process = Some(process);
        Ok(())
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// A file with what `curl -H @FILE` takes as a header.
    pub(crate) fn authorization(&self) -> PathBuf {
        self.directory.join("authorization")
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.directory.join("ADMIN_TOKEN")
    }

    fn environment(&self, surroundings: &Surroundings) -> Result<Vec<(String, String)>> {
        let broker = &surroundings.broker;
        let mut variables = Variables { found: Vec::new(), directory: &self.directory };
        variables.set("AMQP_HOST", broker.host_str().unwrap_or_default());
        variables.set("AMQP_PORT", &broker.port().unwrap_or(5672).to_string());
        variables.set("AMQP_USER", broker.username());
        variables.hide("AMQP_PASSWORD", broker.password().unwrap_or_default())?;
        variables.set("AMQP_VHOST", broker.path().trim_start_matches('/'));
        variables.set("AMQP_QUEUE", self.name);
        variables.hide("PROPAGATION_SECRET", &self.secrets.propagation)?;
        variables.hide("REDIS_URL", &self.redis.url())?;
        variables.set("HOST", &self.address.ip().to_string());
        variables.set("PORT", &self.address.port().to_string());
        match self.role {
            Role::Service => {
                let (queue, secret) = &surroundings.source;
                variables.set("SOURCE_QUEUE", queue);
                variables.hide("SOURCE_SECRET", secret)?;
            }
            _ => self.of_the_command(surroundings, &mut variables)?,
        }
        Ok(variables.found)
    }

    /// What `propagator serve` is told besides.
    fn of_the_command(&self, all: &Surroundings, variables: &mut Variables<'_>) -> Result<()> {
        variables.hide("HMAC_SECRET_TOKEN", &self.secrets.pepper)?;
        variables.hide("ADMIN_TOKEN", &self.secrets.admin_token)?;
        let header = format!("Authorization: Bearer {}\n", self.secrets.admin_token);
        write_for_owner(&self.authorization(), &header)?;
        variables.hide("PEERS", &all.stores)?;
        variables.set("CALL_TARGET_ORIGINS", &all.origins);
        variables.set("SYNC_INTERVAL", "1s");
        // The more it says, the more the search for secrets is worth.
        variables.set("LOG", "info,hmac_propagator=trace,propagator=trace");
        if self.role == Role::Overlapping {
            variables.set("OVERLAP", "10m");
        }
        if let Some(database) = &self.database {
            variables.hide("DATABASE_URL", &database.url())?;
            variables.hide("DATABASE_KEY", &self.secrets.database_key)?;
        }
        Ok(())
    }
}

impl Base {
    fn url(&self) -> String {
        match self {
            Self::Server(database) => database.url(),
            Self::File(file) => format!("sqlite:{}", file.display()),
        }
    }

    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Server(_) => "MariaDB",
            Self::File(_) => "SQLite",
        }
    }
}

struct Variables<'a> {
    found: Vec<(String, String)>,
    directory: &'a Path,
}

impl Variables<'_> {
    fn set(&mut self, name: &str, value: &str) {
        self.found.push((name.to_owned(), value.to_owned()));
    }

    /// Names a file with the value instead of the value.
    fn hide(&mut self, name: &str, value: &str) -> Result<()> {
        let file = self.directory.join(name);
        write_for_owner(&file, value)?;
        self.found.push((format!("{name}_FILE"), file.display().to_string()));
        Ok(())
    }
}

fn write_for_owner(file: &Path, text: &str) -> Result<()> {
    let mut options = File::options();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(file)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// 32 hex digits.
fn random() -> String {
    OsEntropy.bytes16().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The broker's address with user, password and virtual host.
pub(crate) fn broker_url(vhost: &Vhost) -> Result<Url> {
    Ok(Url::parse(&vhost.url())?)
}
