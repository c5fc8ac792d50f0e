//! Propagation between peers over a real RabbitMQ and real Redis servers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests")]
#![allow(unreachable_pub, reason = "one binary")]

mod basics;
mod mesh;
mod own_store;
