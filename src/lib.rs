//! Propagates HMAC credentials across a service mesh.

pub mod auth;
pub mod error;
pub mod id;
pub mod secret;

mod backoff;
pub mod broker;
mod clock;
mod entropy;
mod hex;
mod transport;
