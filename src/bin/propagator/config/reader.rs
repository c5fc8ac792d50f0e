//! Reads values as what they mean, and notes those that are not what the table says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::hidden::Hidden;
use super::keys::{Fallback, Key};
use super::layers::{Given, Raw};
use super::problem::{Problems, Source};

pub(super) struct Reader {
    pub(super) given: BTreeMap<&'static str, Given>,
    pub(super) problems: Problems,
}

impl Reader {
    /// What `parse` makes of the text. `None` when it is not given or not what is expected; then a
    /// problem is noted, unless the key has no default to be there for.
    pub(super) fn text<T>(
        &mut self,
        key: &Key,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let given = self.given(key)?;
        let read = match &given.value {
            Raw::Text(text) => parse(text.expose()),
            Raw::List(_) | Raw::Pairs(_) => None,
        };
        self.expected(key, &given.source, read)
    }

    /// A text that need not be given: `Some(None)` when it is not, `None` when it is wrong.
    pub(super) fn optional<T>(
        &mut self,
        key: &Key,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<Option<T>> {
        if !self.given.contains_key(key.name) {
            return Some(None);
        }
        self.text(key, parse).map(Some)
    }

    /// The path of a file that can be read now: without this, a wrong path would only show as a
    /// connection that does not come up.
    pub(super) fn file(&mut self, key: &Key) -> Option<Option<PathBuf>> {
        let path = self.optional(key, path)?;
        if let Some(path) = &path
            && let Err(error) = std::fs::File::open(path)
        {
            let source = self.source(key);
            let what = format_args!("the file {} cannot be read: {error}", path.display());
            self.problems.about(key, &source, what);
            return None;
        }
        Some(path)
    }

    /// Texts that are separated by commas, or a list.
    pub(super) fn list<T>(
        &mut self,
        key: &Key,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let given = self.given(key)?;
        let read = match &given.value {
            Raw::Text(text) => split(text.expose()).map(parse).collect(),
            // A comma within an element would separate two where the same is given as a text.
            Raw::List(texts) => {
                let element = |text: &str| parse(text).filter(|_| !text.contains(','));
                texts.iter().map(|text| element(text.expose().trim())).collect()
            }
            Raw::Pairs(_) => None,
        };
        self.expected(key, &given.source, read)
    }

    /// `name=value` texts, or a table.
    pub(super) fn pairs(&mut self, key: &Key) -> Option<Vec<(String, Hidden)>> {
        let given = self.given(key)?;
        let pair = |text: &str| {
            text.split_once('=').map(|(name, value)| (name.to_owned(), Hidden::new(value)))
        };
        let read = match &given.value {
            Raw::Text(text) => {
                let separator = |c: char| c == ',' || c.is_whitespace();
                let parts = text.expose().split(separator).filter(|part| !part.is_empty());
                parts.map(pair).collect()
            }
            Raw::List(texts) => texts.iter().map(|text| pair(text.expose())).collect(),
            Raw::Pairs(pairs) => Some(pairs.clone()),
        };
        self.expected(key, &given.source, read)
    }

    /// Where the value comes from.
    pub(super) fn source(&self, key: &Key) -> Source {
        self.given.get(key.name).map_or(Source::Default, |given| given.source.clone())
    }

    fn given(&mut self, key: &Key) -> Option<Given> {
        let given = self.given.get(key.name).cloned();
        if given.is_none() && matches!(key.default, Fallback::Required) {
            let missing = format!("{}: missing; expected {}", key.name, key.expects);
            self.problems.note(missing);
        }
        given
    }

    fn expected<T>(&mut self, key: &Key, source: &Source, read: Option<T>) -> Option<T> {
        if read.is_none() {
            self.problems.wrong(key, source);
        }
        read
    }
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// A text of so many bytes, without control characters.
pub(super) fn of_length(text: &str, most: usize) -> Option<String> {
    let fits = (1..=most).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

/// A number with its unit; a bare number counts seconds, since container setups often have only those.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
}

/// A scheme, a host and perhaps a port, as browsers send it.
pub(super) fn origin(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let bare = url.path() == "/" && !text.ends_with('/');
    let bare = bare && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    (bare && anonymous).then(|| url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_without_unit_is_in_seconds() {
        assert_eq!(duration("0"), Some(Duration::ZERO));
        assert_eq!(duration("90"), Some(Duration::from_secs(90)));
        assert_eq!(duration("1m 30s"), Some(Duration::from_secs(90)));
        for bad in ["", "-1", "1.5", "5 parsecs", "99999999999999999999"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_origin_has_neither_path_nor_user() {
        assert_eq!(origin("https://A.example:443").as_deref(), Some("https://a.example"));
        for bad in [
            "https://a.example/",
            "https://a.example/x",
            "https://u@a.example",
            "a",
            "*",
            "ftp://a",
        ] {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }
}
