//! The pure authentication core against what the deployed Node peers compute.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod against_node;
mod generate;
mod node;
mod properties;
mod vectors;
