//! Tables for people.

use std::time::{Duration, UNIX_EPOCH};

use comfy_table::{Table, presets};

/// A table without lines: it can be piped through other tools too.
pub(super) fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head);
    for row in rows {
        table.add_row(row.map(|cell| clean(&cell)));
    }
    let text = table.to_string();
    text.lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

/// What others wrote (names, notes, reasons of targets) must not steer the terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A time as text, or a dash.
pub(super) fn time(at_ms: Option<u64>) -> String {
    let Some(at_ms) = at_ms else { return "-".into() };
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(at_ms));
    // Beyond the year 9999 the formatter has no words.
    let known = at.filter(|_| at_ms < 253_402_300_800_000);
    known.map_or_else(|| "far off".into(), |at| humantime::format_rfc3339_seconds(at).to_string())
}

/// How long ago, or how far ahead.
pub(super) fn from_now(at_ms: Option<u64>, now_ms: u64) -> String {
    match at_ms {
        None => "-".into(),
        Some(at_ms) if at_ms > now_ms => format!("in {}", length(at_ms - now_ms)),
        Some(at_ms) => format!("{} ago", length(now_ms - at_ms)),
    }
}

/// A length of time, in its two largest units.
pub(super) fn length(ms: u64) -> String {
    let whole = humantime::format_duration(Duration::from_secs(ms / 1000)).to_string();
    whole.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

pub(super) fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        let shown = table(["A"], vec![["\u{1b}[2Jx\r\ny".into()]]);
        assert!(!shown.contains('\u{1b}') && !shown.contains('\r'), "{shown:?}");
        assert_eq!(shown.lines().count(), 2);
    }

    #[test]
    fn times_are_told_from_now() {
        assert_eq!(from_now(Some(5_000), 10_000), "5s ago");
        assert_eq!(from_now(Some(100_000), 10_000), "in 1m 30s");
        assert_eq!(from_now(None, 0), "-");
        assert_eq!(time(Some(0)), "1970-01-01T00:00:00Z");
        assert_eq!(time(Some(u64::MAX)), "far off");
    }
}
