//! Propagation between peers over a real RabbitMQ and real Redis servers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests")]
#![allow(unreachable_pub, reason = "one binary")]

mod attacks;
mod basics;
mod broker;
mod closing;
mod cursor;
mod help;
mod isolation;
mod mesh;
mod order;
mod own_store;
mod races;
mod receive_only;
mod replicas;
mod resend;
mod revisions;
mod stalled;
mod timestamps;
mod transient;
