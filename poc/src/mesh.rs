//! The private mesh: servers, peers, and what the operator does to them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use hmac_propagator_support::{Broker, Queues, Redis, SHARED_BROKER, Scratch};
use hmac_propagator_support::{Database, SqlKind, SqlServer, Vhost};
use tokio::net::TcpStream;

use crate::Result;
use crate::admin::Admin;
use crate::call::Caller;
use crate::seat::{Base, Role, Seat, Secrets, Surroundings, broker_url};
use crate::store::{self, Held};
use crate::traces::{Place, Traces};
use crate::wait::within;

/// Decides.
pub const AUTHORITY: &str = "authority";
/// Receive-only. It cannot sign its answers; the authority's directory says so.
pub const CONSUMER: &str = "consumer";
/// A full peer. It finds the authority's secret in its own directory and signs with it.
pub const ORDERS: &str = "orders";
/// As `orders`; after a rotation it accepts the old secret for a while.
pub const BILLING: &str = "billing";
/// A service that embeds the library.
pub const COUNTER: &str = "counter";

/// All seats.
pub const ALL: [&str; 5] = [AUTHORITY, CONSUMER, ORDERS, BILLING, COUNTER];
/// Those that are run by `propagator serve`.
pub const PEERS: [&str; 4] = [AUTHORITY, CONSUMER, ORDERS, BILLING];
/// Those that decide and have a page.
pub const FULL: [&str; 3] = [AUTHORITY, ORDERS, BILLING];
/// The authority's first targets.
pub const TARGETS: [&str; 3] = [CONSUMER, ORDERS, BILLING];

/// Longest wait for what should happen at once.
pub const SOON: Duration = Duration::from_secs(30);

/// Peers on one broker, each with its own Redis, and with its own database if it decides.
pub struct Mesh {
    // In this order they end: peers, their databases' server, the broker.
    seats: Vec<Seat>,
    surroundings: Surroundings,
    queues: Queues,
    vhost: Vhost,
    _sql: Option<SqlServer>,
    broker: Broker,
    scratch: Scratch,
}

impl Mesh {
    /// Starts servers and these peers and waits until all are ready.
    ///
    /// # Errors
    /// When something is not installed, not built, or does not start.
    pub async fn start(names: &[&'static str]) -> Result<Self> {
        let decides = names.contains(&AUTHORITY);
        let (broker, sql) = tokio::try_join!(Broker::start(), sql_server(decides))?;
        let vhost = match std::env::var_os(SHARED_BROKER) {
            None => broker.vhost_named("hmac-credentials").await?,
            // Other tests use that one.
            Some(_) => broker.vhost().await?,
        };
        let scratch = Scratch::new()?;
        let source = Secrets::draw();
        let mut seats = Vec::new();
        for name in names {
            let own = if *name == AUTHORITY { source.clone() } else { Secrets::draw() };
            let database = match &sql {
                Some(server) if *name == AUTHORITY => Some(server.database().await?),
                _ => None,
            };
            let redis = Redis::start().await?;
            seats.push(Seat::new(name, role(name), own, redis, database, scratch.path())?);
        }
        let surroundings = Surroundings {
            broker: broker_url(&vhost)?,
            source: (AUTHORITY, source.propagation),
            stores: list(&seats, |seat| format!("{}={}", seat.name, seat.redis.url())),
            origins: String::new(),
        };
        let queues = vhost.queues().await?;
        let mut mesh = Self { seats, surroundings, queues, vhost, _sql: sql, broker, scratch };
        mesh.start_all(names).await?;
        Ok(mesh)
    }

    /// Peers are told each other's ports, so these are chosen before the first one listens; another
    /// process may take one until then.
    async fn start_all(&mut self, names: &[&str]) -> Result<()> {
        let mut started = Ok(());
        for _ in 0..3 {
            let origins = list(&self.seats, |seat| format!("http://{}", seat.address));
            self.surroundings.origins = origins;
            for name in names {
                started = self.start_peer(name).await;
                if started.is_err() {
                    break;
                }
            }
            match &started {
                Err(error) if error.to_string().contains("Address already in use") => {
                    self.seats.iter_mut().try_for_each(Seat::move_away)?;
                }
                _ => break,
            }
        }
        started
    }

    /// Starts a peer that does not run, where and with what it ran before, and waits until it is
    /// ready.
    ///
    /// # Errors
    /// When it does not start; with the end of its log.
    pub async fn start_peer(&mut self, name: &str) -> Result<()> {
        let admin = self.admin(name)?;
        let seat = self.seats.iter_mut().find(|seat| seat.name == name).ok_or("no such peer")?;
        seat.start(&self.surroundings)?;
        let mut ended = None;
        let ready = within(SOON, || {
            ended = seat.process.as_mut().and_then(|process| process.ended().ok().flatten());
            let over = ended.is_some();
            let admin = &admin;
            async move { over || admin.is_ready().await }
        });
        if ready.await && ended.is_none() {
            return Ok(());
        }
        let log = std::fs::read_to_string(seat.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        let how = ended.map_or("it is not ready in time".into(), |status| format!("{status}"));
        Err(format!("{name} did not start: {how}; the end of its log:\n{tail}").into())
    }

    /// Stops a peer with SIGTERM and waits until the broker has noticed.
    ///
    /// # Errors
    /// When it does not run or does not end.
    pub async fn stop_peer(&mut self, name: &str) -> Result<ExitStatus> {
        let seat = self.seats.iter_mut().find(|seat| seat.name == name);
        let process = seat.and_then(|seat| seat.process.take()).ok_or("it does not run")?;
        let status = process.stop().await?;
        let queue = queue(name);
        let gone = || async { self.queues.consumers(&queue).await == Ok(Some(0)) };
        match within(SOON, gone).await {
            true => Ok(status),
            false => Err("the broker still sees a consumer".into()),
        }
    }

    /// Whether a peer's process runs.
    #[must_use]
    pub fn is_up(&self, name: &str) -> bool {
        self.seat(name).is_ok_and(|seat| seat.process.is_some())
    }

    /// A peer's HTTP side.
    ///
    /// # Errors
    /// When there is no such peer.
    pub fn admin(&self, name: &str) -> Result<Admin> {
        let seat = self.seat(name)?;
        Admin::new(self.url(name)?, seat.secrets.admin_token.clone())
    }

    /// Where a peer listens.
    ///
    /// # Errors
    /// When there is no such peer.
    pub fn url(&self, name: &str) -> Result<String> {
        Ok(format!("http://{}", self.seat(name)?.address))
    }

    /// A route that answers signed calls only.
    ///
    /// # Errors
    /// When there is no such peer.
    pub fn signed_route(&self, name: &str) -> Result<String> {
        let route = if name == COUNTER { "/calls" } else { "/api/echo" };
        Ok(self.url(name)? + route)
    }

    /// A client that was given this secret by the authority.
    ///
    /// # Errors
    /// When id or secret is empty.
    pub fn caller(&self, client: &str, secret: &str) -> Result<Caller> {
        Caller::new(client, secret, &self.seat(AUTHORITY)?.secrets.pepper)
    }

    /// Has a peer know another one: its name, its secret, and whether it signs.
    ///
    /// # Errors
    /// When there is no answer, or no such peer.
    pub async fn introduce(&self, to: &str, other: &str) -> Result<crate::admin::Answer> {
        let other = self.seat(other)?;
        let secret = &other.secrets.propagation;
        self.admin(to)?.add_target(other.name, secret, other.role.signs()).await
    }

    /// What a peer's Redis holds for a client.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn holds(&self, name: &str, client: &str) -> Result<Option<Held>> {
        store::holds(&self.seat(name)?.redis, client).await
    }

    /// A peer's Redis.
    ///
    /// # Errors
    /// When there is no such peer.
    pub fn redis(&self, name: &str) -> Result<&Redis> {
        Ok(&self.seat(name)?.redis)
    }

    /// How many messages wait in a peer's queue.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn waiting(&self, name: &str) -> Result<u32> {
        Ok(self.queues.count(&queue(name)).await?.unwrap_or(0))
    }

    /// The secret that messages to a peer must carry.
    ///
    /// # Errors
    /// When there is no such peer.
    pub fn propagation_secret(&self, name: &str) -> Result<&str> {
        Ok(&self.seat(name)?.secrets.propagation)
    }

    /// The queues of the mesh's virtual host.
    #[must_use]
    pub fn queues(&self) -> &Queues {
        &self.queues
    }

    /// The virtual host's URL, with user and password.
    #[must_use]
    pub fn broker_url(&self) -> String {
        self.vhost.url()
    }

    pub(crate) fn broker_address(&self) -> SocketAddr {
        self.broker.address()
    }

    pub(crate) fn broker_password(&self) -> String {
        self.surroundings.broker.password().unwrap_or_default().to_owned()
    }

    pub(crate) fn seats(&self) -> &[Seat] {
        &self.seats
    }

    pub(crate) fn seat(&self, name: &str) -> Result<&Seat> {
        Ok(self.seats.iter().find(|seat| seat.name == name).ok_or("no such peer")?)
    }

    /// All that is stored, queued and logged anywhere.
    pub(crate) async fn traces(&self) -> Result<Traces> {
        let mut traces = Traces::default();
        for seat in &self.seats {
            traces.add(Place::Redis, seat.name, &store::contents(&seat.redis).await?);
            traces.add_file(Place::Log, seat.name, &seat.log())?;
            match &seat.database {
                Some(Base::Server(database)) => {
                    traces.add(Place::Database, seat.name, &tables(database).await?);
                }
                Some(Base::File(file)) => traces.add_sqlite(seat.name, file)?,
                None => {}
            }
            let waiting = self.queues.peek(&queue(seat.name)).await?;
            let texts = waiting.iter().map(|body| String::from_utf8_lossy(body).into_owned());
            traces.add(Place::Queue, seat.name, &texts.collect::<Vec<_>>().join("\n"));
        }
        Ok(traces)
    }

    /// Stops the peers in good order and then the servers.
    ///
    /// # Errors
    /// When a peer does not end.
    pub async fn stop(mut self) -> Result<Left> {
        let mut left = Left { all_ended_well: true, ..Left::default() };
        left.directory = self.scratch.path().to_owned();
        for seat in &mut self.seats {
            left.addresses.extend([seat.address, seat.redis.address()]);
            let Some(process) = seat.process.take() else { continue };
            left.processes.push(process.pid());
            left.all_ended_well &= process.stop().await?.success();
        }
        Ok(left)
    }
}

/// What may be left of a mesh that was stopped.
#[derive(Default)]
pub struct Left {
    /// Whether every peer ended with code 0.
    pub all_ended_well: bool,
    processes: Vec<u32>,
    addresses: Vec<SocketAddr>,
    directory: PathBuf,
}

impl Left {
    /// Whether no process, open port or file is left.
    pub async fn is_nothing(&self) -> bool {
        for address in &self.addresses {
            if TcpStream::connect(address).await.is_ok() {
                return false;
            }
        }
        let runs = |pid: &u32| PathBuf::from(format!("/proc/{pid}")).exists();
        !self.processes.iter().any(runs) && !self.directory.exists()
    }
}

fn role(name: &str) -> Role {
    match name {
        AUTHORITY => Role::Authority,
        ORDERS => Role::Full,
        BILLING => Role::Overlapping,
        COUNTER => Role::Service,
        _ => Role::ReceiveOnly,
    }
}

/// The queue of a peer, as the wire contract names it.
#[must_use]
pub fn queue(peer: &str) -> String {
    format!("hmac-{peer}.queue")
}

async fn sql_server(wanted: bool) -> Result<Option<SqlServer>, hmac_propagator_support::Error> {
    match wanted {
        true => SqlServer::start(SqlKind::MariaDb).await.map(Some),
        false => Ok(None),
    }
}

/// Every row of every table.
async fn tables(database: &Database) -> Result<String> {
    let names = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()";
    let mut text = String::new();
    for name in database.execute(names).await?.lines() {
        text.push_str(&database.execute(&format!("SELECT * FROM `{name}`")).await?);
        text.push('\n');
    }
    Ok(text)
}

fn list(seats: &[Seat], one: impl Fn(&Seat) -> String) -> String {
    seats.iter().map(one).collect::<Vec<_>>().join(",")
}
