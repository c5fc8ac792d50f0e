//! The SQL adapter over SQLite, a real PostgreSQL and a real MariaDB.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests")]
#![allow(unreachable_pub, reason = "one binary")]

mod auditing;
mod database;
mod encryption;
mod faults;
mod fixture;
mod from_node;
mod operating;
mod plans;
mod rotations;
mod sync;
mod world;
