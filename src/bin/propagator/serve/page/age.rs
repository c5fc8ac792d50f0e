//! Times as an operator reads them: how long ago, and exactly when on demand.

use std::time::{Duration, UNIX_EPOCH};

/// A point in time, seen from now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Age {
    /// Such as `3 min ago`.
    pub(crate) text: String,
    /// RFC 3339 in UTC.
    pub(crate) exact: String,
}

impl Age {
    /// How long ago it was, or `in …` when it is still to come.
    pub(crate) fn of(at_ms: u64, now_ms: u64) -> Self {
        let text = match at_ms.checked_sub(now_ms) {
            Some(ahead) if ahead >= 1000 => format!("in {}", span(ahead)),
            _ => match now_ms.saturating_sub(at_ms) {
                0..=999 => "now".to_owned(),
                ago => format!("{} ago", span(ago)),
            },
        };
        Self { text, exact: exact(at_ms) }
    }
}

/// RFC 3339; beyond the year 9999 the bare number, which that format cannot hold.
pub(crate) fn exact(at_ms: u64) -> String {
    const LAST: u64 = 253_402_300_799_000;
    if at_ms > LAST {
        return at_ms.to_string();
    }
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(at_ms)).to_string()
}

/// A length of time. One unit is enough to judge by.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..=89 => format!("{seconds} s"),
        90..=5399 => format!("{} min", (seconds + 30) / 60),
        5400..=172_799 => format!("{} h", (seconds + 1800) / 3600),
        _ => format!("{} d", (seconds + 43_200) / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unit_says_how_long_ago() {
        let now = 1_000_000_000;
        let ago = |ms: u64| Age::of(now - ms, now).text;
        assert_eq!(
            [0, 999, 1000, 89_000, 90_000, 5_399_000, 5_400_000, 172_800_000].map(ago),
            ["now", "now", "1 s ago", "89 s ago", "2 min ago", "90 min ago", "2 h ago", "2 d ago"]
        );
        assert_eq!(Age::of(now + 60_000, now).text, "in 60 s");
        assert_eq!(Age::of(0, now).exact, "1970-01-01T00:00:00Z");
        assert_eq!(Age::of(u64::MAX, now).exact, u64::MAX.to_string());
    }
}
