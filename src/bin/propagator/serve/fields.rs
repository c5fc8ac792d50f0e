//! Fields of requests. What they refuse, they refuse with what was expected and nothing of what was
//! received.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use hmac_propagator::credentials::{GeneratedSecret, SecretLength};
use hmac_propagator::error::Result;
use hmac_propagator::secret::ClientSecret;
use hmac_propagator::store::{AllowedIps, Expiry};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// Longest accepted secret, in bytes.
const SECRET: usize = 4096;
/// Days of a rotation policy.
pub(crate) const DAYS: RangeInclusive<u16> = 1..=3650;

/// A secret that a caller chose.
pub(crate) struct PlainSecret(pub(crate) ClientSecret);

impl<'de> Deserialize<'de> for PlainSecret {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        if text.len() > SECRET {
            return Err(D::Error::custom("expected a text of at most 4096 bytes"));
        }
        ClientSecret::new(text).map(Self).map_err(D::Error::custom)
    }
}

/// The secret that a caller chose, or one made here; and, for that one alone, what to show once.
pub(crate) fn chosen_or_made(
    chosen: Option<PlainSecret>,
) -> Result<(ClientSecret, Option<ClientSecret>)> {
    match chosen {
        Some(PlainSecret(secret)) => Ok((secret, None)),
        None => {
            let made = GeneratedSecret::generate(SecretLength::default())?.reveal();
            Ok((made.clone(), Some(made)))
        }
    }
}

/// Address rules.
pub(crate) struct Rules(pub(crate) AllowedIps);

impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let rules = Vec::<String>::deserialize(source)?;
        AllowedIps::parse(&rules).map(Self).map_err(D::Error::custom)
    }
}

/// A field that may be left out and, when it is there, may not be null: null would say nothing, and
/// for an allow-list might be taken for "all".
pub(crate) fn present<'de, D, T>(source: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(source).map(Some)
}

/// An expiry: left out it stays, null removes it.
#[derive(Default)]
pub(crate) struct ExpiresAt(pub(crate) Expiry);

impl<'de> Deserialize<'de> for ExpiresAt {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(ExpiresAtVisitor).map(Self)
    }
}

struct ExpiresAtVisitor;

impl Visitor<'_> for ExpiresAtVisitor {
    type Value = Expiry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("milliseconds since the epoch, an RFC 3339 time, or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Expiry, E> {
        Ok(Expiry::Never)
    }

    fn visit_u64<E: Error>(self, ms: u64) -> Result<Expiry, E> {
        let fits = (ms <= Expiry::LATEST_MS).then_some(Expiry::At(ms));
        fits.ok_or_else(|| E::custom("expected milliseconds up to 8640000000000000"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Expiry, E> {
        let ms = rfc3339(text).filter(|ms| *ms <= Expiry::LATEST_MS);
        ms.map(Expiry::At).ok_or_else(|| {
            E::custom("expected an RFC 3339 time, as 2030-01-31T12:00:00Z, or milliseconds")
        })
    }
}

/// Milliseconds since the epoch of a time with any offset.
fn rfc3339(text: &str) -> Option<u64> {
    let text = text.to_ascii_uppercase();
    let (local, offset_minutes) = match text.strip_suffix('Z') {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            (local, offset_minutes(offset)?)
        }
    };
    let utc = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let since = utc.duration_since(std::time::UNIX_EPOCH).ok()?;
    let ms = i64::try_from(since.as_millis()).ok()?.checked_sub(offset_minutes * 60_000)?;
    u64::try_from(ms).ok()
}

/// `+02:00`
fn offset_minutes(text: &str) -> Option<i64> {
    let sign = match text.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let two = |text: &str, below: i64| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| digits && *number < below)
    };
    Some(sign * (two(hours, 24)? * 60 + two(minutes, 60)?))
}

/// A rotation policy: left out it stays, null removes it.
#[derive(Default)]
pub(crate) enum RotateAfter {
    #[default]
    Keep,
    Never,
    Days(u16),
}

impl<'de> Deserialize<'de> for RotateAfter {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let wrong = || D::Error::custom("expected 1 to 3650 days, or null");
        match Option::<u16>::deserialize(source).map_err(|_| wrong())? {
            None => Ok(Self::Never),
            Some(days) if DAYS.contains(&days) => Ok(Self::Days(days)),
            Some(_) => Err(wrong()),
        }
    }
}

/// Whole days of a policy, rounded up.
pub(crate) fn days(interval: Duration) -> u64 {
    interval.as_secs().div_ceil(24 * 60 * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(json: &str) -> Option<Expiry> {
        serde_json::from_str::<ExpiresAt>(json).ok().map(|read| read.0)
    }

    #[test]
    fn an_expiry_is_a_number_a_time_with_any_offset_or_none() {
        assert_eq!(expiry("1893499200000"), Some(Expiry::At(1_893_499_200_000)));
        for same in [
            "2030-01-01T12:00:00Z",
            "2030-01-01T14:00:00+02:00",
            "2030-01-01t06:30:00.000-05:30",
            "2030-01-01T12:00:00z",
        ] {
            assert_eq!(
                expiry(&format!("\"{same}\"")),
                Some(Expiry::At(1_893_499_200_000)),
                "{same}"
            );
        }
        assert_eq!(expiry("null"), Some(Expiry::Never));
        for wrong in [
            "-1",
            "1.5",
            "1e300",
            "8640000000000001",
            "\"\"",
            "\"tomorrow\"",
            "true",
            "[]",
            "\"2030-01-01\"",
            "\"2030-01-01T12:00:00\"",
            "\"2030-13-01T12:00:00Z\"",
            "\"2030-01-01T12:00:00+2:00\"",
            "\"2030-01-01T12:00:00+24:00\"",
            "\"é\"",
            "\"ééé\"",
        ] {
            assert_eq!(expiry(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_policy_is_a_number_of_days_or_none() {
        let read = |json| serde_json::from_str::<RotateAfter>(json);
        assert!(matches!(read("1"), Ok(RotateAfter::Days(1))));
        assert!(matches!(read("null"), Ok(RotateAfter::Never)));
        for wrong in ["0", "3651", "-1", "1.5", "\"1\""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
