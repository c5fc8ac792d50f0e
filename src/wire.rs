//! What travels between peers: envelope, limits, decoding. Knows no sockets and no stores.

mod encode;
mod envelope;
mod interpret;

pub(crate) use encode::{AckEvent, ApplyEvent, Held, Payload};
pub(crate) use envelope::{Envelope, Malformed};
pub(crate) use interpret::{
    AckReceived, AckResult, ApplyReceived, Invalid, Message, check_not_ahead, interpret, is_ack,
};

/// The broker's name for a peer's queue.
pub(crate) fn queue_name(peer: &crate::id::PeerQueue) -> String {
    format!("hmac-{peer}.queue")
}
