//! The private mesh: servers, four peers, and what the operator does to them. How peers are started
//! and spoken to is known here and in `peer` only.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hmac_propagator::entropy::{Entropy, OsEntropy};
use hmac_propagator_support::{Broker, PrivateBroker, Queues, Redis, Vhost, eventually};
use tokio::net::TcpStream;

use crate::Result;
use crate::call::Call;
use crate::peer::{self, Config, Known, Mode, Order, PeerProcess, Report};
use crate::peer::{Propagated, RowReport, SyncReport};
use crate::store::{self, Held};

pub(crate) const AUTHORITY: &str = "authority";
/// A full peer: it finds the authority's secret in its own directory and signs with it.
pub(crate) const ORDERS: &str = "orders";
/// Receive-only, but given the authority's secret, so that it signs as well.
pub(crate) const BILLING: &str = "billing";
/// Receive-only and cannot sign; the authority's directory says so.
pub(crate) const ARCHIVE: &str = "archive";
pub(crate) const TARGETS: [&str; 3] = [ORDERS, BILLING, ARCHIVE];

const ALL: [(&str, &str); 4] = [
    (AUTHORITY, "full, decides"),
    (ORDERS, "full, signs from its own directory"),
    (BILLING, "receive-only, signs with a given secret"),
    (ARCHIVE, "receive-only, cannot sign"),
];

/// Longest wait for what should happen at once.
const SOON: Duration = Duration::from_secs(20);

/// Four peers on one broker, each with its own Redis.
pub(crate) struct Mesh {
    members: Vec<Member>,
    queues: Queues,
    // Last, so that it outlives the peers.
    _vhost: Vhost,
    broker: PrivateBroker,
}

struct Member {
    name: &'static str,
    description: &'static str,
    config: Config,
    redis: Redis,
    process: Option<PeerProcess>,
}

impl Mesh {
    /// Starts servers and peers and waits until all are ready.
    pub(crate) async fn start() -> Result<Self> {
        let broker = Broker::start_private().await?;
        let vhost = broker.vhost_named("hmac-credentials").await?;
        let queues = vhost.queues().await?;
        let address = peer_address(&vhost)?;
        let mut members = Vec::new();
        let secrets: Vec<Known> = ALL.iter().map(|(name, _)| known(name)).collect();
        for ((name, description), own) in ALL.into_iter().zip(&secrets) {
            let redis = Redis::start().await?;
            let config = Config {
                queue: name.to_owned(),
                propagation_secret: own.secret.clone(),
                pepper: random(),
                broker: address.clone(),
                redis_url: redis.url(),
                mode: mode(name, &secrets),
            };
            let process = Some(PeerProcess::start(&config).await?);
            members.push(Member { name, description, config, redis, process });
        }
        Ok(Self { members, queues, _vhost: vhost, broker })
    }

    /// Name, description, process id and Redis of every peer.
    pub(crate) fn describe(&self) -> Vec<[String; 4]> {
        let describe = |member: &Member| {
            let pid = member.process.as_ref().map_or("-".into(), |peer| peer.pid().to_string());
            let redis = member.redis.address().to_string();
            [member.name.to_owned(), member.description.to_owned(), pid, redis]
        };
        self.members.iter().map(describe).collect()
    }

    pub(crate) fn broker_address(&self) -> SocketAddr {
        self.broker.address()
    }

    /// A call of a client that was given this secret.
    pub(crate) fn call(&self, secret: &str) -> Result<Call> {
        Call::signed(secret, &self.member(AUTHORITY)?.config.pepper)
    }

    /// Has the authority create a credential; returns the revision.
    pub(crate) async fn ensure(&mut self, client: &str, secret: &str) -> Result<u64> {
        let targets = TARGETS.map(str::to_owned).to_vec();
        let (client, secret) = (client.to_owned(), secret.to_owned());
        self.decide(&Order::Ensure { client, secret, targets }).await
    }

    /// Has the authority give it a new secret.
    pub(crate) async fn rotate(&mut self, client: &str, secret: &str) -> Result<u64> {
        let (client, secret) = (client.to_owned(), secret.to_owned());
        self.decide(&Order::Rotate { client, secret }).await
    }

    /// Has the authority remove it.
    pub(crate) async fn revoke(&mut self, client: &str) -> Result<u64> {
        self.decide(&Order::Revoke { client: client.to_owned() }).await
    }

    /// The code of the error with which a peer refuses to rotate; `None`: it did not refuse.
    pub(crate) async fn refusal_of(&mut self, peer: &str, client: &str) -> Result<Option<String>> {
        let order = Order::Rotate { client: client.to_owned(), secret: random() };
        match self.order(peer, &order).await? {
            Report::Failed { code, .. } => Ok(Some(code)),
            _ => Ok(None),
        }
    }

    pub(crate) async fn sync(&mut self) -> Result<SyncReport> {
        match self.order(AUTHORITY, &Order::Sync).await? {
            Report::Synced(report) => Ok(report),
            other => Err(unexpected(&other)),
        }
    }

    /// The authority's rows of a credential, by target.
    pub(crate) async fn rows(&mut self, client: &str) -> Result<Vec<RowReport>> {
        match self.order(AUTHORITY, &Order::Rows { client: client.to_owned() }).await? {
            Report::Rows(rows) => Ok(rows),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until the authority reports the revision, or a newer one, as fully propagated.
    pub(crate) async fn propagated(&mut self, client: &str, revision: u64) -> Result<Propagated> {
        let order = Order::AwaitPropagated { client: client.to_owned(), revision };
        match self.order(AUTHORITY, &order).await? {
            Report::Propagated(propagated) => Ok(propagated),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether a peer's process runs.
    pub(crate) fn is_up(&self, peer: &str) -> Result<bool> {
        Ok(self.member(peer)?.process.is_some())
    }

    /// What a peer's Redis holds for a client.
    pub(crate) async fn holds(&self, peer: &str, client: &str) -> Result<Option<Held>> {
        store::holds(&self.member(peer)?.redis, client).await
    }

    /// Whether any peer's Redis contains the text anywhere.
    pub(crate) async fn any_store_contains(&self, text: &str) -> Result<bool> {
        for member in &self.members {
            if store::contains(&member.redis, text).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many messages wait in a peer's queue.
    pub(crate) async fn waiting(&self, peer: &str) -> Result<u32> {
        Ok(self.queues.count(&queue(peer)).await?.unwrap_or(0))
    }

    /// Waits until a peer has settled every message of its queue. It settles one only after its
    /// answer is confirmed, so the source may have the answer a moment earlier; killed in that
    /// moment, the peer would find the old message again.
    pub(crate) async fn idle(&self, peer: &str) {
        // Unlike a declaration this also counts the messages that the peer has in hand.
        let arguments = ["-q", "-p", "hmac-credentials", "list_queues", "name", "messages"];
        let settled = format!("{}\t0", queue(peer));
        let idle = || async {
            let listed = self.broker.rabbitmqctl(&arguments).await.ok()?;
            listed.lines().any(|line| line.trim() == settled).then_some(())
        };
        eventually(SOON, idle).await;
    }

    /// Ends a peer's process with SIGKILL and waits until the broker has noticed.
    pub(crate) async fn kill(&mut self, peer: &str) -> Result<()> {
        let member = self.members.iter_mut().find(|member| member.name == peer);
        let process = member.and_then(|member| member.process.take()).ok_or("not running")?;
        process.kill().await?;
        let consumers =
            || async { (self.queues.consumers(&queue(peer)).await == Ok(Some(0))).then_some(()) };
        eventually(SOON, consumers).await;
        Ok(())
    }

    /// Starts a killed peer again, with the configuration that it had.
    pub(crate) async fn start_again(&mut self, peer: &str) -> Result<()> {
        let member = self.members.iter_mut().find(|member| member.name == peer);
        let member = member.ok_or("no such peer")?;
        member.process = Some(PeerProcess::start(&member.config).await?);
        Ok(())
    }

    /// Stops the peers in good order and then the servers.
    pub(crate) async fn stop(self) -> Result<Left> {
        let mut left = Left {
            all_ended_well: true,
            processes: Vec::new(),
            addresses: vec![self.broker.address()],
        };
        for member in self.members {
            left.addresses.push(member.redis.address());
            let Some(process) = member.process else { continue };
            left.processes.push(process.pid());
            left.all_ended_well &= process.close().await?;
        }
        Ok(left)
    }

    async fn decide(&mut self, order: &Order) -> Result<u64> {
        match self.order(AUTHORITY, order).await? {
            Report::Decided { revision } => Ok(revision),
            other => Err(unexpected(&other)),
        }
    }

    async fn order(&mut self, peer: &str, order: &Order) -> Result<Report> {
        let member = self.members.iter_mut().find(|member| member.name == peer);
        let process = member.and_then(|member| member.process.as_mut()).ok_or("not running")?;
        process.order(order).await
    }

    fn member(&self, peer: &str) -> Result<&Member> {
        Ok(self.members.iter().find(|member| member.name == peer).ok_or("no such peer")?)
    }
}

/// What may be left of a mesh that was stopped.
pub(crate) struct Left {
    pub(crate) all_ended_well: bool,
    processes: Vec<u32>,
    addresses: Vec<SocketAddr>,
}

impl Left {
    pub(crate) async fn nothing_runs(&self) -> bool {
        for address in &self.addresses {
            if TcpStream::connect(address).await.is_ok() {
                return false;
            }
        }
        self.processes.iter().all(|pid| !PathBuf::from(format!("/proc/{pid}")).exists())
    }
}

/// What a peer is told about the others.
fn mode(name: &str, all: &[Known]) -> Mode {
    let others = |wanted: &[&str]| {
        let mut others = all.to_vec();
        others.retain(|known| wanted.contains(&known.queue.as_str()));
        others
    };
    match name {
        AUTHORITY => Mode::Full { directory: others(&TARGETS) },
        ORDERS => Mode::Full { directory: others(&[AUTHORITY]) },
        BILLING => Mode::ReceiveOnly { sources: others(&[AUTHORITY]) },
        _ => Mode::ReceiveOnly { sources: Vec::new() },
    }
}

fn known(name: &str) -> Known {
    Known { queue: name.to_owned(), secret: random(), receive_only: name == ARCHIVE }
}

fn peer_address(vhost: &Vhost) -> Result<peer::Broker> {
    let url = vhost.url();
    let parts = url.strip_prefix("amqp://").and_then(|rest| {
        let (user, rest) = rest.split_once(':')?;
        let (password, rest) = rest.split_once('@')?;
        let (address, vhost) = rest.split_once('/')?;
        Some((user, password, address.parse::<SocketAddr>().ok()?, vhost))
    });
    let (user, password, address, vhost) = parts.ok_or("the broker's URL cannot be read")?;
    Ok(peer::Broker {
        host: address.ip().to_string(),
        port: address.port(),
        user: user.to_owned(),
        password: password.to_owned(),
        vhost: vhost.to_owned(),
    })
}

/// The queue of a peer, as the wire contract names it.
fn queue(peer: &str) -> String {
    format!("hmac-{peer}.queue")
}

/// A secret of 32 hex digits.
pub(crate) fn random() -> String {
    OsEntropy.bytes16().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unexpected(report: &Report) -> Box<dyn std::error::Error + Send + Sync> {
    match report {
        Report::Failed { code, message } => format!("{code}: {message}").into(),
        other => format!("the peer reported {other:?}").into(),
    }
}
