//! The tower layer and the signing client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod bodies;
mod client;
mod layer;
mod require;
mod server;
