//! The page of `propagator serve`, used as an operator uses it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod design;
mod forms;
mod hostile;
mod live;
mod operator;
mod signing_in;
