//! The guides of `docs/guides`, compiled and run as documentation tests.

#[doc = include_str!("../../../docs/guides/axum.md")]
mod axum {}

#[doc = include_str!("../../../docs/guides/actix-web.md")]
mod actix_web {}

#[doc = include_str!("../../../docs/guides/tonic.md")]
mod tonic {}

#[doc = include_str!("../../../docs/guides/tower.md")]
mod tower {}

#[doc = include_str!("../../../docs/guides/cron.md")]
mod cron {}
