//! Brings one claimed event to its target's queue.

use std::sync::Arc;

use super::rows::Job;
use super::targets::Declarations;
use crate::core::Core;
use crate::gate::Passage;
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
    /// This target cannot be served now; why, in words for an operator.
    TargetFailed(String),
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
        // Nothing was added; what an earlier try left there may be there still.
        Attempt::TargetFailed(_) => Some(may_be_queued),
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
    let target = &claimed.job.claim.flight.target;
    let declared = if claimed.may_be_queued {
        match declarations.depth(target).await {
            // Ready messages: ours is among them, or will be judged once they are consumed.
            Ok(depth) if depth.ready > 0 => return Attempt::StillQueued,
            other => other.map(drop),
        }
    } else {
        declarations.ensure(target).await
    };
    if let Err(error) = declared {
        return declare_failed(core, error);
    }
    let event_id = &claimed.ticket.event_id;
    let body = claimed.job.body(core, event_id);
    let passage = core.gate.enter(event_id.clone());
    match core.transport.publish(target, body.clone()).await {
        Ok(()) => Attempt::Confirmed(passage),
        Err(PublishError::Unroutable) => {
            if let Err(error) = declarations.renew(target).await {
                return declare_failed(core, error);
            }
            match core.transport.publish(target, body).await {
                Ok(()) => Attempt::Confirmed(passage),
                Err(error) => publish_failed(error),
            }
        }
        Err(error) => publish_failed(error),
    }
}

fn publish_failed(error: PublishError) -> Attempt {
    match error {
        PublishError::Unroutable | PublishError::Refused => {
            Attempt::TargetFailed(error.to_string())
        }
        PublishError::Unavailable | PublishError::Closed => Attempt::BrokerFailed,
    }
}

fn declare_failed(core: &Core, error: DeclareError) -> Attempt {
    match error {
        DeclareError::ForeignArguments(_) | DeclareError::Refused(_) => {
            Attempt::TargetFailed(error.to_string())
        }
        // With the connection up it is this queue that does not answer.
        DeclareError::Unavailable if core.transport.health().borrow().publisher.is_up() => {
            Attempt::TargetFailed("the broker does not answer for this queue".into())
        }
        DeclareError::Unavailable | DeclareError::Closed => Attempt::BrokerFailed,
    }
}
