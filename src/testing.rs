//! Conformance suites: what every adapter of a port must do, for whoever writes one.
//!
//! A suite takes the adapter, uses it as the crate does, and panics at the first thing that is not
//! as the port's documentation says. Run it from a test, against a real server:
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use hmac_propagator::id::Track;
//! use hmac_propagator::state::MemoryState;
//! use hmac_propagator::store::MemoryCredentialStore;
//! use hmac_propagator::testing;
//!
//! let state = MemoryState::new();
//! testing::state_store_conformance(&state, "conformance").await;
//! let store = MemoryCredentialStore::new(state, Track::Http, "hmac:http");
//! testing::credential_store_conformance(&store).await;
//! # });
//! ```
//!
//! A suite leaves what it wrote: give it a store of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed check panics")]

#[cfg(feature = "propagation")]
pub mod management;

mod state;
mod store;

pub use state::state_store_conformance;
pub use store::credential_store_conformance;
