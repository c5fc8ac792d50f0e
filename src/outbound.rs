//! Towards the targets: what is open is claimed, published, recorded as sent.

mod delivery;
mod doubts;
mod local;
mod refill;
mod rows;
mod sync;
mod targets;

pub(crate) use rows::local_version;
pub use sync::SyncSummary;
pub(crate) use sync::sync;
pub(crate) use targets::DeclaredTargets;
