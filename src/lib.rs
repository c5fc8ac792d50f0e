//! Propagates HMAC credentials across a service mesh.

pub mod broker;
pub mod cursor;
pub mod error;
pub mod id;
pub mod management;
pub mod secret;
pub mod state;
pub mod store;

mod backoff;
mod clock;
mod core;
mod decision;
mod entropy;
mod event;
mod gate;
mod inbound;
mod ledger;
mod locks;
mod outbound;
mod settlement;
mod sources;
mod transport;
mod wire;
