//! The pipelines on a simulated mesh: see `docs/testing.md`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod crashes;
mod meshes;
mod mutations;
mod replay;
mod scale;
