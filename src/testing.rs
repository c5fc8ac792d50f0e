//! Conformance suites for adapters: what the library relies on, as tests that any adapter can run.
//!
//! Everything here fails by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "assertions of tests")]

pub mod management;
