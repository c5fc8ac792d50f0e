//! What the fuzz targets check: one function per target, for any bytes.
//!
//! Not a public interface: the targets of `fuzz/` and the test that replays their corpora reach what
//! is private through it. A function returns when every law holds, and panics when one does not.

#![allow(clippy::panic, reason = "how a law that does not hold is told to the fuzzer")]

mod canonical;
mod headers;
mod ip;
mod path;
mod records;
mod wire;

pub use canonical::canonical;
pub use headers::headers;
pub use ip::ip;
pub use path::path;
pub use records::{is_credential, records};
pub use wire::{is_understood, wire};

use futures_util::FutureExt;

use crate::clock::Clock;

const NOW_MS: u64 = 1_700_000_000_000;

#[derive(Debug)]
struct Standing;

impl Clock for Standing {
    fn now_ms(&self) -> u64 {
        NOW_MS
    }
}

/// Over stores in memory nothing waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap_or_else(|| panic!("something had to wait"))
}
