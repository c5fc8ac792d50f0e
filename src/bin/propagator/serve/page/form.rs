//! What a form brings.

use std::str::FromStr;
use std::time::UNIX_EPOCH;

use hmac_propagator::id::{ClientId, CredentialKey, PeerQueue, Track};
use url::form_urlencoded;

/// Longest form in bytes.
pub(crate) const LIMIT: usize = 64 * 1024;

/// The fields of a form or of a query. Holds secrets: has no `Debug`.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) fn read(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// A field, without the white space around it; `None` when it is missing or blank.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(field, _)| field == name);
        found.next().map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// A field exactly as it was typed; `None` when it is missing or empty.
    pub(crate) fn exact(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(field, _)| field == name);
        found.next().map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// All words of all fields of a name: boxes that are ticked, or a list that was typed.
    pub(crate) fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.0.iter().filter(move |(field, _)| field == name);
        found
            .flat_map(|(_, value)| value.split([' ', ',', '\n', '\r', '\t']))
            .filter(|word| !word.is_empty())
    }

    pub(crate) fn ticked(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// A field that must be there, read as what it is.
    ///
    /// # Errors
    /// What was expected; what was given is not repeated.
    pub(crate) fn required<T: FromStr>(&self, name: &str, expected: &str) -> Result<T, String>
    where
        T::Err: std::fmt::Display,
    {
        self.optional(name, expected)?.ok_or_else(|| format!("{name}: expected {expected}"))
    }

    /// A field that may be left out.
    ///
    /// # Errors
    /// As [`Form::required`].
    pub(crate) fn optional<T: FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, String> {
        let text = self.text(name);
        text.map(str::parse).transpose().map_err(|_| format!("{name}: expected {expected}"))
    }

    /// The credential that `client` and `track` name.
    ///
    /// # Errors
    /// As [`Form::required`].
    pub(crate) fn credential(&self) -> Result<CredentialKey, String> {
        // As it stands: white space may belong to a client's name.
        let client = self.exact("client").unwrap_or_default();
        let client = ClientId::new(client).map_err(|error| error.to_string())?;
        let track: Option<Track> = self.optional("track", "`http` or `message`")?;
        Ok(CredentialKey::new(track.unwrap_or_default(), client))
    }

    /// # Errors
    /// Which of them is no name of a peer's queue.
    pub(crate) fn targets(&self) -> Result<Vec<PeerQueue>, String> {
        let read = |word: &str| PeerQueue::new(word).map_err(|error| format!("targets: {error}"));
        self.words("targets").map(read).collect()
    }

    /// A time in UTC, in milliseconds since the epoch.
    ///
    /// # Errors
    /// As [`Form::required`].
    pub(crate) fn time(&self, name: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        // The browser's field for it leaves the seconds out.
        let seconds = if text.matches(':').count() == 1 { ":00" } else { "" };
        let read = humantime::parse_rfc3339_weak(&format!("{text}{seconds}")).ok();
        let since = read.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let ms = since.and_then(|since| u64::try_from(since.as_millis()).ok());
        ms.map(Some).ok_or_else(|| format!("{name}: expected a time as 2026-11-20T18:30"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_as_boxes_or_as_words() {
        let form = Form::read(b"targets=b&targets=c&targets=d%2C+e%0D%0Af&client=shop");
        let targets = form.targets().unwrap();
        let targets: Vec<&str> = targets.iter().map(PeerQueue::as_str).collect();
        assert_eq!(targets, ["b", "c", "d", "e", "f"]);
        let wrong = Form::read(b"targets=..%2Fx").targets().unwrap_err();
        assert!(wrong.starts_with("targets: ") && !wrong.contains("../x"), "{wrong}");
    }

    #[test]
    fn a_credential_is_named_by_client_and_track() {
        let key = Form::read(b"client=a%20b&track=message").credential().unwrap();
        assert_eq!(key.to_string(), "message:a b");
        assert_eq!(Form::read(b"client=x").credential().unwrap().track, Track::Http);
        for wrong in ["", "client=", "client=%0A", "client=x&track=smtp"] {
            assert!(Form::read(wrong.as_bytes()).credential().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_read_as_browsers_send_it() {
        let time = |text: &str| Form::read(format!("t={text}").as_bytes()).time("t");
        assert_eq!(time("1970-01-01T00:01"), Ok(Some(60_000)));
        assert_eq!(time("1970-01-01T00:00:01"), Ok(Some(1000)));
        assert_eq!(time(""), Ok(None));
        assert!(time("tomorrow").is_err());
        assert!(time("1960-01-01T00:00").is_err());
    }

    #[test]
    fn blank_is_missing_but_a_secret_is_taken_as_typed() {
        let form = Form::read(b"a=+&b=+x+&days=seven");
        assert_eq!((form.text("a"), form.text("b")), (None, Some("x")));
        assert_eq!((form.exact("a"), form.exact("b")), (Some(" "), Some(" x ")));
        assert!(!form.ticked("a") && form.ticked("b"));
        assert!(form.optional::<u16>("days", "a number").is_err());
        assert!(form.required::<u16>("none", "a number").is_err());
    }
}
