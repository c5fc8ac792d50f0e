//! A private mesh of real processes, and the scenario that is played on it.
//!
//! What stands below does not know what stands above: `scenario` says what is done and what must hold
//! then, `mesh` which peers there are and how the operator speaks to them, `seat` what makes a peer.

pub mod admin;
pub mod call;
mod keep;
pub mod mesh;
pub mod page;
mod process;
pub mod scenario;
pub mod seat;
pub mod store;
mod traces;
mod wait;

pub use keep::invite;
pub use wait::within;

/// Errors end as one line for the operator.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
