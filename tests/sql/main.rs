//! The SQL adapter over SQLite, a real PostgreSQL and a real MariaDB.
//!
//! Run with servers for all: `private-servers exec --databases -- cargo nextest run --features
//! sql,testing --test sql`. `HMAC_TEST_POSTGRES_URL` and `HMAC_TEST_MYSQL_URL` name others.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests")]
#![allow(unreachable_pub, reason = "one binary")]
#![allow(clippy::cognitive_complexity, reason = "assertions count as branches")]
#![allow(clippy::large_enum_variant, reason = "one value per test")]

mod auditing;
mod database;
mod encryption;
mod faults;
mod fixture;
mod from_node;
mod operating;
mod options;
mod plans;
mod rotations;
mod sync;
mod upkeep;
mod world;
