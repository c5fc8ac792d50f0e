//! `propagator serve`, real processes against a private broker, Redis and database.
//!
//! Run it with one broker for all tests: `private-servers exec -- cargo nextest run --all-features
//! --test sidecar`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests")]
#![allow(unreachable_pub, reason = "one binary")]

mod admin;
mod calls;
mod cors;
mod described;
mod health;
mod killed;
mod process;
mod raw;
mod receive_only;
mod refusals;
mod refused;
mod resending;
mod rotation;
mod secrecy;
mod starting;
mod stopping;
mod syncing;
