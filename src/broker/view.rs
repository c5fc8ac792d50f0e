//! What a look at the broker finds. Public in [`crate::inspect`].

use std::fmt;

use crate::id::PeerQueue;

/// What a peer finds at the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerView {
    /// Whether the broker takes messages from this user; the reason when it does not.
    pub publishing: Result<(), String>,
    /// Whether this user may read its own queue; the reason when not. `None`: not tried, because the
    /// queue is missing, or somebody reads it already.
    pub reading: Option<Result<(), String>>,
    /// The peer's own queue.
    pub own: QueueState,
    /// The queues that were asked for, in that order.
    pub queues: Vec<(PeerQueue, QueueState)>,
}

/// A queue at the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueState {
    /// There is none of that name.
    Missing,
    /// It is there.
    There {
        /// Messages that wait in it; those that a consumer has in hand do not count.
        ready: u32,
        /// Who consumes it.
        consumers: u32,
    },
    /// The broker does not let this user look, and why.
    Refused(String),
    /// It did not answer in time.
    Silent,
}

/// Why a broker could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerFault {
    /// How far it went.
    pub stage: BrokerStage,
    /// What was said, without any secret.
    pub reason: String,
}

/// The step at which a broker refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokerStage {
    /// No usable connection: the network, TLS, or a broker that does not answer.
    Connect,
    /// User or password.
    Login,
    /// The virtual host is missing or not this user's.
    VirtualHost,
}

impl fmt::Display for BrokerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for BrokerFault {}
