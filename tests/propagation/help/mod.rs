//! What tests put in a peer's way, and what they watch it with.

mod between;
mod clock;
mod raw;
mod recorder;

pub use between::{Between, Call, Script};
pub use clock::StepClock;
pub use raw::{RawPublisher, RawTarget, ack, apply, fresh_id, hash_of, now_ms, refusal};
pub use recorder::Recorder;
