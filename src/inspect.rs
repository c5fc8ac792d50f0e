//! Looks at the broker as a peer sees it, for those who want to know why nothing moves.
//!
//! Nothing is changed: no queue is declared, no message is taken or left behind.

pub use crate::broker::view::{BrokerFault, BrokerStage, BrokerView, QueueState};

use crate::broker::BrokerOptions;
use crate::error::Result;
use crate::id::PeerQueue;

/// Connects, looks at the queues of these peers, and disconnects. Bounded by the deadlines of the
/// options, each of which may be used up once per step.
///
/// # Errors
/// `InvalidOptions` for options that no peer would start with. A broker that refuses is no error of
/// this call but what it found: see [`BrokerFault`].
///
/// # Cancellation
/// Safe.
pub async fn broker(
    options: &BrokerOptions,
    own: &PeerQueue,
    queues: &[PeerQueue],
) -> Result<Result<BrokerView, BrokerFault>> {
    options.validate()?;
    Ok(crate::transport::amqp::inspect(options, own, queues).await)
}
