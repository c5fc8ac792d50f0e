//! Brings one claimed event to its target's queue.

use std::sync::Arc;

use tokio::time::Instant;

use super::rows::Job;
use super::targets::Declarations;
use crate::core::Core;
use crate::gate::Passage;
use crate::id::PeerQueue;
use crate::ledger::{ClaimRequest, InFlight, Ticket};
use crate::management::RowStatus;
use crate::transport::{DeclareError, PublishError};

/// A claimed row.
pub(super) struct Claimed {
    pub(super) job: Job,
    pub(super) ticket: Ticket,
    /// A copy may still wait in the target's queue.
    pub(super) may_be_queued: bool,
}

/// How an attempt ended.
pub(super) enum Attempt {
    /// The broker holds it.
    Confirmed(Passage),
    /// An earlier copy still waits in the target's queue: a second one would only pile up.
    StillQueued,
    /// This target cannot be served now.
    TargetFailed {
        /// In words for an operator.
        reason: String,
        /// This attempt's copy may come to stand in the target's queue all the same.
        placed: bool,
    },
    /// The broker cannot be used now.
    BrokerFailed,
}

/// A finished attempt.
pub(super) struct Delivered {
    pub(super) flight: InFlight,
    pub(super) ticket: Ticket,
    /// Whether the row was recorded as sent before, and how often.
    pub(super) was_sent: bool,
    pub(super) attempts_before: u32,
    pub(super) attempt: Attempt,
}

/// Makes one attempt.
pub(super) async fn deliver(
    core: Arc<Core>,
    declarations: Declarations,
    claimed: Claimed,
) -> Delivered {
    let attempt = attempt(&core, &declarations, &claimed).await;
    let Claimed { job, ticket, may_be_queued } = claimed;
    let ClaimRequest { flight, status, attempts: attempts_before, .. } = job.claim;
    // The claim already counts this attempt and waits for its answer: what did not happen is taken
    // back, so that the next sync may try. If that fails too, the row is due after its time.
    let placed = match &attempt {
        Attempt::Confirmed(_) | Attempt::StillQueued => None,
        // What an earlier try left there may be there still.
        Attempt::TargetFailed { placed, .. } => Some(may_be_queued || *placed),
        Attempt::BrokerFailed => Some(true),
    };
    if let Some(placed) = placed {
        let released = core.ledger.release(&flight, &ticket.event_id, placed).await;
        if let Err(error) = released {
            tracing::warn!("a claim stays until its time is over: {error}");
        }
    }
    Delivered { flight, ticket, was_sent: status == RowStatus::Sent, attempts_before, attempt }
}

async fn attempt(core: &Core, declarations: &Declarations, claimed: &Claimed) -> Attempt {
    let Claimed { job, ticket, may_be_queued } = claimed;
    let target = &job.claim.flight.target;
    let begun = Instant::now();
    if declarations.has_stalled(target) {
        return does_not_confirm(false);
    }
    let declared = if *may_be_queued {
        match declarations.depth(target).await {
            // Ready messages: ours is among them, or will be judged once they are consumed.
            Ok(depth) if depth.ready > 0 => return Attempt::StillQueued,
            other => other.map(drop),
        }
    } else {
        declarations.ensure(target).await
    };
    if let Err(error) = declared {
        return declare_failed(core, begun, error).await;
    }
    let body = job.body(core, &ticket.event_id);
    let passage = core.gate.enter(ticket.event_id.clone());
    let mut published = core.transport.publish(target, body.clone()).await;
    if matches!(published, Err(PublishError::Unroutable)) {
        if let Err(error) = declarations.renew(target).await {
            return declare_failed(core, begun, error).await;
        }
        published = core.transport.publish(target, body).await;
    }
    #[cfg(feature = "simulation")]
    if crate::mutation::is_on(crate::mutation::Mutation::RecordedLate) {
        core.ledger.record_late(&job.claim.flight, &ticket.event_id).await;
    }
    match published {
        Ok(()) => Attempt::Confirmed(passage),
        Err(error) => publish_failed(core, declarations, target, begun, error).await,
    }
}

async fn publish_failed(
    core: &Core,
    declarations: &Declarations,
    target: &PeerQueue,
    begun: Instant,
    error: PublishError,
) -> Attempt {
    match error {
        PublishError::Unroutable | PublishError::Refused => {
            Attempt::TargetFailed { reason: error.to_string(), placed: false }
        }
        // It may confirm later.
        PublishError::Unavailable if only_this_queue(core, begun).await => {
            declarations.stalled(target);
            does_not_confirm(true)
        }
        PublishError::Unavailable | PublishError::Closed => Attempt::BrokerFailed,
    }
}

fn does_not_confirm(placed: bool) -> Attempt {
    let reason = "the broker does not confirm for this queue".into();
    Attempt::TargetFailed { reason, placed }
}

async fn declare_failed(core: &Core, begun: Instant, error: DeclareError) -> Attempt {
    match error {
        DeclareError::ForeignArguments(_) | DeclareError::Refused(_) => {
            Attempt::TargetFailed { reason: error.to_string(), placed: false }
        }
        DeclareError::Unavailable if only_this_queue(core, begun).await => {
            let reason = "the broker does not answer for this queue".into();
            Attempt::TargetFailed { reason, placed: false }
        }
        DeclareError::Unavailable | DeclareError::Closed => Attempt::BrokerFailed,
    }
}

/// Whether the broker was there all the while, so that the queue is at fault: the connection is up
/// and it was heard since, or answers now. A broker that froze counts as up until heartbeats are missed.
async fn only_this_queue(core: &Core, begun: Instant) -> bool {
    let up = core.transport.health().borrow().publisher.is_up();
    up && core.transport.answers(begun.elapsed()).await
}
