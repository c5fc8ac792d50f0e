//! The verifier over real stores.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod caller;
mod credentials;
mod hardening;
mod messages;
mod overlap;
mod refusals;
mod replays;
mod sharing;
mod stores;
