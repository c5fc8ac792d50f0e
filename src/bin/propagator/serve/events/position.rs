//! Where a reader stands.

use std::fmt;
use std::str::FromStr;

/// The id of an event: when the process started that told it, and which of its events it is. Later
/// events have greater ids, also after a restart, unless the clock was set back meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// Milliseconds since the epoch.
    pub(super) started_ms: u64,
    pub(super) number: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.started_ms, self.number)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (started, number) = text.split_once('-').ok_or(())?;
        let number_of = |digits: &str| digits.parse().map_err(|_| ());
        Ok(Self { started_ms: number_of(started)?, number: number_of(number)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_later_ones_are_greater() {
        let at = |started_ms, number| Position { started_ms, number };
        assert_eq!(at(17, 4).to_string().parse(), Ok(at(17, 4)));
        assert!(at(17, 4) < at(17, 10));
        assert!(at(17, 10) < at(18, 0));
        for text in ["", "17", "17-", "-4", "17-x", "17-4-4", "99999999999999999999-1"] {
            assert_eq!(text.parse::<Position>(), Err(()), "{text}");
        }
    }
}
