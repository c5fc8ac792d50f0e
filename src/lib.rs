//! Propagates HMAC credentials across a service mesh, over RabbitMQ.
//!
//! One peer decides about a credential (create, rotate, revoke); its targets apply the decision and
//! answer; the decider's rows say, target by target, who holds it now. Peers may be down, brokers
//! and Redis may lose what they hold: later syncs make it good, and no row claims a success that no
//! target has proved.
//!
//! - [`propagator::Propagator`] is a peer: [`propagator::Propagator::builder`] puts one together.
//! - [`management::Management`] is the port to your database, needed by peers that decide.
//! - [`store`] and [`state`] are what verifiers read and what cursors and events in flight stand in:
//!   Redis or memory.
//! - [`auth`] hashes, signs and verifies.
//! - [`event`] tells what happens, [`error`] what went wrong.
//!
//! ```no_run
//! use hmac_propagator::broker::BrokerOptions;
//! use hmac_propagator::id::{ClientId, PeerQueue, Track};
//! use hmac_propagator::management::MemoryManagement;
//! use hmac_propagator::propagator::{Ensure, Propagator};
//! use hmac_propagator::secret::{BrokerPassword, ClientSecret, PropagationSecret};
//! use hmac_propagator::state::MemoryState;
//! use hmac_propagator::store::MemoryCredentialStore;
//!
//! # async fn example() -> hmac_propagator::error::Result<()> {
//! let state = MemoryState::new();
//! let management = MemoryManagement::new();
//! let orders = PeerQueue::new("orders")?;
//! management.add_target(orders.clone(), PropagationSecret::new("the secret of orders")?);
//!
//! let peer = Propagator::builder(
//!     BrokerOptions::new("authority", BrokerPassword::new("password")),
//!     PeerQueue::new("authority")?,
//!     PropagationSecret::new("the secret of authority")?,
//!     state.clone(),
//! )
//! .credential_store(MemoryCredentialStore::new(state, Track::Http, "hmac:http"))
//! .management(management)
//! .start()
//! .await?;
//!
//! let secret = ClientSecret::new("what the client signs with")?;
//! peer.ensure(Ensure::new(ClientId::new("webshop")?, secret).targets([orders])).await?;
//! peer.sync().await?;
//! # Ok(()) }
//! ```
//!
//! The repository's README has the quick start, its `docs` the architecture, the wire contract, the
//! Redis layout, operations, and how to implement `Management`.
//!
//! # Features
//! `propagation` (the peer over RabbitMQ) and `redis` (the Redis adapters), both on by default.
//! Without either: authentication and stores in memory. `sql`: `management::sql`, the management side
//! over SQLite, PostgreSQL or MariaDB; needs Rust 1.94. `testing`: conformance suites for adapters.
//! `simulation`: for testing this crate; not for users. `tls`: to the broker. `tower`: the HTTP layer. `reqwest`: the signing client. `cli`: the command.

pub mod auth;
pub mod clock;
pub mod credentials;
pub mod cursor;
pub mod entropy;
pub mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod id;
pub mod secret;
pub mod state;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod verify;

#[cfg(feature = "reqwest")]
pub mod client;
#[cfg(feature = "tower")]
pub mod http;

#[cfg(feature = "propagation")]
pub mod broker;
#[cfg(feature = "propagation")]
pub mod event;
#[cfg(feature = "propagation")]
pub mod inspect;
#[cfg(feature = "propagation")]
pub mod management;
#[cfg(feature = "propagation")]
pub mod propagator;
#[cfg(feature = "propagation")]
pub mod refused;

#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;

mod hex;
mod mutation;

#[cfg(feature = "propagation")]
mod backoff;
#[cfg(feature = "propagation")]
mod callbacks;
#[cfg(feature = "propagation")]
mod core;
#[cfg(feature = "propagation")]
mod decision;
#[cfg(feature = "propagation")]
mod doubts;
#[cfg(feature = "propagation")]
mod gate;
#[cfg(feature = "propagation")]
mod identities;
#[cfg(feature = "propagation")]
mod inbound;
#[cfg(feature = "propagation")]
mod ledger;
#[cfg(feature = "propagation")]
mod locks;
#[cfg(feature = "propagation")]
mod outbound;
#[cfg(feature = "propagation")]
mod recent;
#[cfg(feature = "propagation")]
mod settlement;
#[cfg(feature = "propagation")]
mod sources;
#[cfg(feature = "propagation")]
mod transport;
#[cfg(feature = "propagation")]
mod upkeep;
#[cfg(feature = "propagation")]
mod wire;

/// The code of the README and of the documents compiles.
#[cfg(all(doctest, feature = "propagation", feature = "redis"))]
mod documents {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/redis-layout.md")]
    struct RedisLayout;
    #[cfg(feature = "sql")]
    #[doc = include_str!("../docs/sql-schema.md")]
    struct SqlSchema;
    #[doc = include_str!("../docs/implementing-management.md")]
    struct ImplementingManagement;
}
