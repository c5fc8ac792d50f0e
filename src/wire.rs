//! What travels between peers: envelope, limits, decoding. Knows no sockets and no stores.

mod encode;
mod envelope;
mod interpret;

pub(crate) use encode::{AckEvent, ApplyEvent, Held, Payload, StoreNamed};
pub(crate) use envelope::Envelope;
pub(crate) use interpret::{
    AckReceived, AckResult, ApplyReceived, Invalid, Message, check_not_ahead, interpret, is_ack,
};
