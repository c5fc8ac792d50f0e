//! The peer itself: what a service does that embeds the library.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use hmac_propagator::broker::BrokerOptions;
use hmac_propagator::event::{Event, EventStream};
use hmac_propagator::id::{ClientId, CredentialKey, PeerQueue, Revision, Track};
use hmac_propagator::management::{MemoryManagement, Outcome, Proof};
use hmac_propagator::propagator::{Ensure, Propagator, Revoke, Rotate};
use hmac_propagator::secret::{BrokerPassword, ClientSecret, PropagationSecret, SecretToken};
use hmac_propagator::state::RedisState;
use hmac_propagator::store::RedisCredentialStore;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;
use tokio::time::timeout;

use super::protocol::{Broker, Config, Known, Mode, Order, Propagated, Report, RowReport};
use crate::Result;
use crate::store::NAMESPACE;

/// An event without an answer is due again this soon, and the longest wait grows to. Far shorter
/// than the defaults, so that the demonstration meets due events within seconds.
const ANSWER_TIMEOUT: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(2));

const PROPAGATED: Duration = Duration::from_secs(30);

/// Reads its configuration, becomes ready, and carries out orders until the input ends.
pub(crate) async fn serve() -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let config = lines.next_line().await?.ok_or("no configuration")?;
    let service = Service::start(serde_json::from_str(&config)?).await?;
    say(&Report::Ready)?;
    while let Some(line) = lines.next_line().await? {
        let order = serde_json::from_str(&line)?;
        if matches!(order, Order::Close) {
            service.peer.close().await;
            return say(&Report::Closed);
        }
        let failed = |error: hmac_propagator::error::Error| Report::Failed {
            code: error.code().to_owned(),
            message: error.to_string(),
        };
        say(&service.carry_out(order).await.unwrap_or_else(failed))?;
    }
    // The operator is gone.
    service.peer.close().await;
    Ok(())
}

struct Service {
    peer: Propagator,
    /// `None`: receive-only.
    management: Option<MemoryManagement>,
    propagated: watch::Receiver<HashMap<CredentialKey, (Revision, Outcome)>>,
}

impl Service {
    async fn start(config: Config) -> hmac_propagator::error::Result<Self> {
        let Config { queue, propagation_secret, pepper, broker, redis_url, mode } = config;
        let Broker { host, port, user, password, vhost } = broker;
        let broker = BrokerOptions::new(user, BrokerPassword::new(password))
            .address(host, port)
            .vhost(vhost);
        let state = RedisState::open(&redis_url)?;
        let store = RedisCredentialStore::new(state.clone(), Track::Http, NAMESPACE);
        let secret = PropagationSecret::new(propagation_secret)?;
        let mut builder = Propagator::builder(broker, PeerQueue::new(queue)?, secret, state)
            .credential_store(store)
            .secret_token(SecretToken::new(pepper))
            .answer_timeout(ANSWER_TIMEOUT.0, ANSWER_TIMEOUT.1)
            .fail_fast(true);
        let mut management = None;
        match mode {
            Mode::Full { directory } => {
                let directory = directory_of(directory)?;
                builder = builder.management(directory.clone());
                management = Some(directory);
            }
            Mode::ReceiveOnly { sources } => {
                for Known { queue, secret, .. } in sources {
                    let secret = PropagationSecret::new(secret)?;
                    builder = builder.source_secret(PeerQueue::new(queue)?, secret);
                }
            }
        }
        let peer = builder.start().await?;
        let (sender, propagated) = watch::channel(HashMap::new());
        tokio::spawn(follow(peer.events(), sender));
        Ok(Self { peer, management, propagated })
    }

    async fn carry_out(&self, order: Order) -> hmac_propagator::error::Result<Report> {
        Ok(match order {
            Order::Ensure { client, secret, targets } => {
                let targets: Vec<PeerQueue> =
                    targets.into_iter().map(PeerQueue::new).collect::<Result<_, _>>()?;
                let request = Ensure::new(ClientId::new(client)?, ClientSecret::new(secret)?);
                decided(self.peer.ensure(request.targets(targets)).await?.revision)
            }
            Order::Rotate { client, secret } => {
                let request = Rotate::new(ClientId::new(client)?, ClientSecret::new(secret)?);
                decided(self.peer.rotate(request).await?.revision)
            }
            Order::Revoke { client } => {
                let request = Revoke::new(ClientId::new(client)?);
                decided(self.peer.revoke(request).await?.revision)
            }
            Order::Sync => {
                let summary = self.peer.sync().await?;
                Report::Synced(super::SyncReport {
                    read: summary.propagations_read,
                    published: summary.targets_published,
                })
            }
            Order::Rows { client } => Report::Rows(self.rows(client)?),
            Order::AwaitPropagated { client, revision } => {
                self.propagated(client, revision).await?
            }
            Order::Close => Report::Closed,
        })
    }

    fn rows(&self, client: String) -> hmac_propagator::error::Result<Vec<RowReport>> {
        let key = CredentialKey::new(Track::Http, ClientId::new(client)?);
        let rows = self.management.iter().flat_map(|management| management.rows(&key));
        Ok(rows
            .map(|row| RowReport {
                target: row.target.to_string(),
                revision: row.revision.get(),
                status: row.status.as_str().to_owned(),
                proof: row.proof.map(|proof| match proof {
                    Proof::Signed => "signed".to_owned(),
                    Proof::ReceiveOnly => "unsigned, by event id".to_owned(),
                    other => format!("{other:?}"),
                }),
            })
            .collect())
    }

    async fn propagated(
        &self,
        client: String,
        revision: u64,
    ) -> hmac_propagator::error::Result<Report> {
        let key = CredentialKey::new(Track::Http, ClientId::new(client)?);
        let mut seen = self.propagated.clone();
        let reached =
            seen.wait_for(|seen| seen.get(&key).is_some_and(|(r, _)| r.get() >= revision));
        let reached = match timeout(PROPAGATED, reached).await {
            Ok(Ok(seen)) => seen.get(&key).copied(),
            _ => None,
        };
        Ok(match reached {
            Some((revision, outcome)) => Report::Propagated(Propagated {
                revision: revision.get(),
                outcome: outcome.as_str().to_owned(),
            }),
            None => Report::Failed {
                code: "TIMEOUT".into(),
                message: format!("not fully propagated within {PROPAGATED:?}"),
            },
        })
    }
}

fn directory_of(peers: Vec<Known>) -> hmac_propagator::error::Result<MemoryManagement> {
    let directory = MemoryManagement::new();
    for Known { queue, secret, receive_only } in peers {
        let (queue, secret) = (PeerQueue::new(queue)?, PropagationSecret::new(secret)?);
        match receive_only {
            true => directory.add_receive_only_target(queue, secret),
            false => directory.add_target(queue, secret),
        }
    }
    Ok(directory)
}

/// Keeps the newest revision of each credential that is fully propagated.
async fn follow(
    mut events: EventStream,
    propagated: watch::Sender<HashMap<CredentialKey, (Revision, Outcome)>>,
) {
    while let Some(event) = events.next().await {
        if let Event::FullyPropagated { key, revision, outcome, .. } = event {
            propagated.send_modify(|seen| {
                seen.insert(key, (revision, outcome));
            });
        }
    }
}

fn decided(revision: Revision) -> Report {
    Report::Decided { revision: revision.get() }
}

fn say(report: &Report) -> Result<()> {
    let mut line = serde_json::to_string(report)?;
    line.push('\n');
    let mut output = std::io::stdout().lock();
    output.write_all(line.as_bytes())?;
    Ok(output.flush()?)
}
