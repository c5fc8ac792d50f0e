//! Propagates HMAC credentials across a service mesh.

pub mod auth;
pub mod broker;
pub mod clock;
pub mod cursor;
pub mod entropy;
pub mod error;
pub mod event;
pub mod id;
pub mod management;
pub mod propagator;
pub mod secret;
pub mod state;
pub mod store;

mod backoff;
mod core;
mod decision;
mod gate;
mod hex;
mod inbound;
mod ledger;
mod locks;
mod outbound;
mod settlement;
mod sources;
mod transport;
mod wire;
