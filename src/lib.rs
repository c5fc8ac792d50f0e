//! Propagates HMAC credentials across a service mesh.

pub mod auth;
pub mod clock;
pub mod credentials;
pub mod cursor;
pub mod entropy;
pub mod error;
pub mod id;
pub mod secret;
pub mod state;
pub mod store;
pub mod verify;

#[cfg(feature = "reqwest")]
pub mod client;
#[cfg(feature = "tower")]
pub mod http;

#[cfg(feature = "propagation")]
pub mod broker;
#[cfg(feature = "propagation")]
pub mod event;
#[cfg(feature = "propagation")]
pub mod management;
#[cfg(feature = "propagation")]
pub mod propagator;

mod hex;

#[cfg(feature = "propagation")]
mod backoff;
#[cfg(feature = "propagation")]
mod core;
#[cfg(feature = "propagation")]
mod decision;
#[cfg(feature = "propagation")]
mod gate;
#[cfg(feature = "propagation")]
mod inbound;
#[cfg(feature = "propagation")]
mod ledger;
#[cfg(feature = "propagation")]
mod locks;
#[cfg(feature = "propagation")]
mod outbound;
#[cfg(feature = "propagation")]
mod settlement;
#[cfg(feature = "propagation")]
mod sources;
#[cfg(feature = "propagation")]
mod transport;
#[cfg(feature = "propagation")]
mod wire;
