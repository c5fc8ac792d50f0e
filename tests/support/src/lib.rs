//! Private servers for tests, benches and the proof of concept.
//!
//! Everything here runs on loopback, on ports of its own, in a directory of its own, and ends with
//! the value that owns it; when the test process is killed, the kernel kills the servers too. A
//! server that runs on the machine already is neither used nor disturbed. A server that is not
//! installed is an error that names its Debian package, never a reason to skip.
//!
//! ```no_run
//! # async fn example() -> Result<(), hmac_propagator_support::Error> {
//! use std::time::Duration;
//! use hmac_propagator_support::{Broker, Mode, Proxy, Redis, eventually};
//!
//! // One RabbitMQ node serves all tests of a run; each test has a vhost of its own.
//! let broker = Broker::start().await?;
//! let vhost = broker.vhost().await?;
//! let queues = vhost.queues().await?;
//! queues.declare("hmac-a.queue").await?;
//! queues.publish("hmac-a.queue", b"{}").await?;
//! eventually(Duration::from_secs(5), || async {
//!     (queues.count("hmac-a.queue").await == Ok(Some(1))).then_some(())
//! })
//! .await;
//!
//! // A fault of the network: put a proxy in between.
//! let proxy = Proxy::start(broker.address()).await?;
//! let url = vhost.url_via(proxy.address());
//! proxy.set_mode(Mode::BlackHole);
//! proxy.reset_connections();
//!
//! // A fault of the broker: a node that only this test uses.
//! let own = Broker::start_private().await?;
//! own.kill().await?;
//! own.restart().await?;
//! own.set_memory_alarm(true).await?;
//!
//! // Redis starts in milliseconds, so each test has its own.
//! let redis = Redis::start().await?;
//! redis.set_read_only(true).await?;
//! # let _ = url; Ok(()) }
//! ```
//!
//! A node takes seconds to start and nextest runs each test in a process of its own. Therefore
//! `private-servers exec -- COMMAND` starts one node, names it in [`SHARED_BROKER`] and runs the
//! command; [`Broker::start`] then uses that node. Without the variable it starts one, so that a
//! single test can be run by hand.

mod broker;
mod chromedriver;
mod error;
mod ports;
mod process;
mod proxy;
mod redis_server;
mod scratch;
mod serve;
mod sql_server;
mod wait;

pub use broker::{Broker, Message, PrivateBroker, Queues, SHARED_BROKER, Vhost};
pub use chromedriver::Chromedriver;
pub use error::Error;
pub use ports::free_address;
pub use proxy::{Mode, Proxy};
pub use redis_server::{Redis, RedisOptions};
pub use scratch::Scratch;
pub use serve::Serve;
pub use sql_server::{Database, SqlKind, SqlServer};
pub use wait::eventually;

/// The AMQP driver, for arguments and properties that a test sets itself.
pub use lapin;
/// The Redis driver, for the types that [`Redis::command`] returns.
pub use redis;
