//! The time of day.

use std::time::SystemTime;

use hmac_propagator::clock::{Clock, SystemClock};

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> u64 {
    SystemClock.now_ms()
}

/// RFC 3339, in UTC.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
