//! The path of a request as both sides sign it.
//!
//! The rule is JavaScript's `new URL(target, "http://localhost")`, then `pathname + search`. The
//! base never changes, so the WHATWG state machine shrinks to what stands here. The `url` crate
//! judges hosts. It does not parse the paths: it keeps `/C:` as if it were a drive under every
//! scheme, and gives three leading slashes another meaning.
//!
//! A host is not signed, but a target with an impossible one is refused. For internationalised names
//! the crate and Node disagree on some that nobody can register (bidirectional mixtures, code points
//! that one of their Unicode versions does not know).

mod encode;
mod segments;

use std::borrow::Cow;
use std::fmt;

use url::Url;

use crate::error::{Error, ErrorKind};

/// Path and query in the one spelling that signer and verifier share.
///
/// The host of an absolute target is not part of it: `//host/x` and `http://host/x` are `/x`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CanonicalPath<'a>(Cow<'a, str>);

impl<'a> CanonicalPath<'a> {
    /// Brings a request target into that spelling. A target that has it already is not copied.
    ///
    /// # Errors
    /// [`InvalidPath`] when the target names a host that no URL can have, for example `//` or
    /// `http://[`.
    pub fn new(target: &'a str) -> Result<Self, InvalidPath> {
        if is_canonical(target.as_bytes()) {
            return Ok(Self(Cow::Borrowed(target)));
        }
        resolve(&cleaned(target)).map(|path| Self(Cow::Owned(path)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same path without a borrow.
    #[must_use]
    pub fn into_owned(self) -> CanonicalPath<'static> {
        CanonicalPath(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for CanonicalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A request target that is not a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request target is not a URL")]
pub struct InvalidPath {
    source: url::ParseError,
}

impl From<InvalidPath> for Error {
    fn from(error: InvalidPath) -> Self {
        Self::new(ErrorKind::InvalidOptions, "path: expected a path or a URL").with_source(error)
    }
}

/// Whether nothing would change: an absolute path of plain characters, no segment that may be a dot
/// segment (they begin with `.` or `%2e`), and a query that is not empty if there is one.
fn is_canonical(target: &[u8]) -> bool {
    let [b'/', rest @ ..] = target else {
        return false;
    };
    if rest.first() == Some(&b'/') {
        return false;
    }
    let mut previous = b'/';
    for (index, &byte) in rest.iter().enumerate() {
        if byte == b'?' {
            let query = &rest[index + 1..];
            return !query.is_empty() && query.iter().all(|&b| encode::QUERY[usize::from(b)]);
        }
        if !encode::PATH[usize::from(byte)] || (previous == b'/' && matches!(byte, b'.' | b'%')) {
            return false;
        }
        previous = byte;
    }
    true
}

/// The first steps of the URL parser: controls and blanks go at both ends, tabs and line ends
/// everywhere.
fn cleaned(target: &str) -> String {
    target.trim_matches(|c: char| c <= ' ').replace(['\t', '\n', '\r'], "")
}

fn resolve(target: &str) -> Result<String, InvalidPath> {
    let Some((scheme, rest)) = split_scheme(target) else {
        return resolve_relative(target);
    };
    match scheme.to_ascii_lowercase().as_str() {
        // The base's own scheme: what follows is relative to the base, slashes or not.
        "http" => resolve_relative(rest),
        "https" | "ws" | "wss" | "ftp" => resolve_authority(rest),
        "file" => resolve_file(rest),
        _ => resolve_other(rest),
    }
}

fn split_scheme(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once(':')?;
    let well_formed = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    well_formed.then_some((scheme, rest))
}

fn resolve_relative(target: &str) -> Result<String, InvalidPath> {
    let mut slashes = target.chars().take_while(|c| SLASHES.contains(c));
    if slashes.next().is_some() && slashes.next().is_some() {
        resolve_authority(target)
    } else {
        Ok(path_and_query(target, Scheme::Web))
    }
}

/// `//host/path`, after any number of slashes: the host must be one, and is then dropped.
fn resolve_authority(target: &str) -> Result<String, InvalidPath> {
    let (authority, path) =
        split_at_any(target.trim_start_matches(SLASHES), &['/', '\\', '?', '#']);
    check_host(&format!("http://{authority}/"))?;
    Ok(path_and_query(path, Scheme::Web))
}

fn resolve_file(rest: &str) -> Result<String, InvalidPath> {
    let after_two = rest.strip_prefix(SLASHES).and_then(|rest| rest.strip_prefix(SLASHES));
    let Some(authority_and_path) = after_two else {
        return Ok(path_and_query(rest, Scheme::File));
    };
    let (authority, path) = split_at_any(authority_and_path, &['/', '\\', '?', '#']);
    if segments::is_drive_letter(authority) {
        return Ok(path_and_query(authority_and_path, Scheme::File));
    }
    check_host(&format!("file://{authority}/"))?;
    Ok(path_and_query(path, Scheme::File))
}

fn resolve_other(rest: &str) -> Result<String, InvalidPath> {
    let Some(authority_and_path) = rest.strip_prefix("//") else {
        return Ok(path_and_query(rest, Scheme::Other));
    };
    let (authority, path) = split_at_any(authority_and_path, &['/', '?', '#']);
    // A user without a host, or a backslash behind a port: the crate lets both pass.
    let host = authority.rsplit('@').next().unwrap_or(authority);
    if (host.is_empty() && !authority.is_empty()) || host.contains('\\') {
        return Err(InvalidPath { source: url::ParseError::EmptyHost });
    }
    check_host(&format!("x://{authority}/"))?;
    Ok(path_and_query(path, Scheme::Other))
}

const SLASHES: [char; 2] = ['/', '\\'];

fn split_at_any<'t>(text: &'t str, ends: &[char]) -> (&'t str, &'t str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

fn check_host(url: &str) -> Result<(), InvalidPath> {
    Url::parse(url).map(drop).map_err(|source| InvalidPath { source })
}

/// Which of the parser's rules hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// `http` and the like: a backslash is a slash, and a path is never empty.
    Web,
    /// As the former, and drive letters stay.
    File,
    /// Any other: a path that does not begin with a slash is opaque.
    Other,
}

/// Path and query of what follows the host. The fragment goes, and an empty query with it.
fn path_and_query(text: &str, scheme: Scheme) -> String {
    let (text, _fragment) = split_at_any(text, &['#']);
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let mut out = String::with_capacity(text.len() + 8);
    segments::push(&mut out, path, scheme);
    if !query.is_empty() {
        out.push('?');
        let plain = if scheme == Scheme::Other { &encode::OTHER_QUERY } else { &encode::QUERY };
        encode::push(&mut out, query, plain);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(target: &str) -> String {
        CanonicalPath::new(target).unwrap().as_str().to_owned()
    }

    #[test]
    fn a_path_in_its_final_spelling_is_not_copied() {
        for target in ["/", "/a", "/a//b", "/a.b/c..", "/a%20b?x=%zz&y=/../", "/a:b|c^d"] {
            let path = CanonicalPath::new(target).unwrap();
            assert!(matches!(path.0, Cow::Borrowed(_)), "{target}");
            assert_eq!(path.as_str(), target);
        }
    }

    #[test]
    fn a_drive_letter_is_a_segment_like_any_other() {
        assert_eq!(canonical("/C:/.."), "/");
        assert_eq!(canonical("/x/C:/../y"), "/x/y");
    }

    #[test]
    fn a_dot_segment_behind_a_hidden_one_stays_as_in_node() {
        assert_eq!(canonical("/a/.b/../c"), "/a/.b/../c");
        assert_eq!(canonical("/a/.b/../c d"), "/a/c%20d");
        assert_eq!(canonical("/.b/../c"), "/c");
    }

    #[test]
    fn any_number_of_leading_slashes_above_one_introduces_a_host() {
        for target in ["//h/x", "///h/x", "////h/x", "/\\/h/x", "https:h/x", "http:///h/x"] {
            assert_eq!(canonical(target), "/x", "{target}");
        }
    }

    #[test]
    fn a_host_that_cannot_be_one_is_an_error_that_names_the_target() {
        for target in ["//", "///", "//[/x", "//a b/x", "//h:99999/x", "//%/x", "https:", "//u@/"] {
            let error = CanonicalPath::new(target).unwrap_err();
            assert_eq!(error.to_string(), "the request target is not a URL", "{target}");
        }
    }

    #[test]
    fn the_canonical_spelling_is_stable() {
        for target in ["/a/../b", "/a b?c d", "/é?'", "//h//x", "/..//x/./"] {
            let once = canonical(target);
            // A path that begins with two slashes would be read as a host the second time.
            if !once.starts_with("//") {
                assert_eq!(canonical(&once), once, "{target}");
            }
        }
    }
}
