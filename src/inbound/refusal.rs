//! Lets go of what is refused: a record for those who look later, then the broker is told.
//!
//! In this order, so that what is gone from the queue can be looked at. A store that does not answer
//! at once changes nothing: the message waits for a moment and goes without a record.

use crate::core::Core;
use crate::event::{Event, Refusal};
use crate::id::PeerQueue;
use crate::refused::{self, Guard, Written};
use crate::secret::PropagationSecret;
use crate::transport::Delivery;

/// Why a message is refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: Refusal,
    pub(super) detail: String,
    pub(super) sender: Option<PeerQueue>,
}

/// Lets go of a message that nobody is answered for. It is rejected, so that a policy of the broker
/// may keep the whole of it.
pub(super) async fn let_go(core: &Core, refused: Refused, delivery: Delivery) {
    tell(core, refused, &delivery).for_a_moment().await;
    delivery.reject().await;
}

/// Tells of a refusal and hands its record in.
pub(super) fn tell(core: &Core, refused: Refused, delivery: &Delivery) -> Written {
    let Refused { reason, detail, sender } = refused;
    let guard = guard(core, sender.as_ref());
    // A name that may be a secret is not told either.
    let sender = sender.filter(|sender| guard.passes(sender.as_str()));
    let refused = refused::Refused {
        at_ms: core.clock.now_ms(),
        reason,
        detail: &detail,
        sender: sender.as_ref(),
        body: &delivery.body,
        limit: core.limits.message_bytes,
    };
    let written = core.refusals.keep(&refused, guard);
    core.hub.emit(Event::Refused { reason, detail, sender });
    written
}

/// Knows this peer's secret and those that the sender might have taken for it.
fn guard(core: &Core, sender: Option<&PeerQueue>) -> Guard {
    let of_sender = sender.and_then(|sender| core.known_sources.outdated(sender)).flatten();
    let secrets = [&core.secret].into_iter().chain(core.source_secrets.values()).chain(&of_sender);
    Guard::new(secrets.map(PropagationSecret::expose))
}
