//! The operators' commands, run as an operator runs them, against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod auditing;
mod databases;
mod deciding;
mod doctor;
mod encrypting;
mod refused;
mod rotating;
mod secured;
mod targets;
mod usage;
mod waiting;
mod world;
