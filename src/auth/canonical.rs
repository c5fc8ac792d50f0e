//! The canonical text of a message: what a Node peer gets from rebuilding every object with sorted
//! keys and printing it with `JSON.stringify`.
//!
//! A message is first laid out flat (`item`), then written in canonical order (`write`). Neither
//! step recurses, so depth costs memory in proportion to the text and never the stack.

mod item;
mod order;
mod read;
mod string;
mod value;
mod write;

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use order::KeyOrder;

/// Makes canonical text. Building one for a locale looks up its collation: keep it.
///
/// Two messages whose canonical texts are equal have equal signatures: by contract the number `5`
/// equals the string `"5"`, `null` equals `""`, and an object equals the string of its own text.
///
/// # Where it differs from a Node peer
/// Keys with Han characters: Node orders these by radical and stroke, this crate by code point. The
/// two agree for 99.8 % of pairs within U+4E00 to U+9FA5, and less often beyond. A message that has
/// at most one such key per object is not affected.
#[derive(Clone, Debug)]
pub struct Canonicalizer {
    order: KeyOrder,
}

impl Canonicalizer {
    /// Orders keys as a Node process does whose locale is English, German or C.
    ///
    /// # Errors
    /// `InvalidOptions` when the collation data is missing from the build, which does not happen with
    /// the features that this crate asks for.
    pub fn new() -> Result<Self> {
        Self::for_locale("en")
    }

    /// Orders keys as a Node process of another locale does. Swedish, Danish or Lithuanian, for
    /// example, move letters: all peers of a message must agree on one.
    ///
    /// # Errors
    /// `InvalidOptions` when the text is not a BCP 47 language tag. A language without an order of
    /// its own has the default one.
    pub fn for_locale(locale: &str) -> Result<Self> {
        KeyOrder::for_locale(locale).map(|order| Self { order })
    }

    /// The canonical text of a message in JSON. Accepts what `JSON.parse` accepts: any depth, any
    /// number (beyond the range of a double it is infinite, which prints as `null` inside a message),
    /// duplicate keys, of which the last counts, and unpaired surrogates in strings.
    ///
    /// # Errors
    /// [`CanonicalError`] when it is not JSON, or a key has an unpaired surrogate.
    pub fn text(&self, json: &str) -> Result<String, CanonicalError> {
        Ok(write::document(&read::items(json)?, json.len(), &self.order))
    }

    /// The canonical text of a message that was parsed already.
    #[must_use]
    pub fn value(&self, message: &Value) -> String {
        let items = value::items(message);
        write::document(&items, items.len() * 8, &self.order)
    }
}

/// Why a message has no canonical text. Never repeats any of the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CanonicalError {
    /// The text is not JSON.
    #[error("the message is not JSON: expected {expected} at byte {offset}")]
    NotJson {
        /// Where the reader stopped, in bytes from the start.
        offset: usize,
        /// What would have been acceptable there.
        expected: &'static str,
    },
    /// A key with half a surrogate pair. Its place among other keys is not defined here.
    #[error("the key that begins at byte {offset} of the message has an unpaired surrogate")]
    UnpairedSurrogateInKey {
        /// Where the key begins, in bytes from the start.
        offset: usize,
    },
}

impl From<CanonicalError> for Error {
    fn from(error: CanonicalError) -> Self {
        Self::new(ErrorKind::InvalidOptions, "message: expected JSON with a canonical text")
            .with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> String {
        Canonicalizer::new().unwrap().text(json).unwrap()
    }

    #[test]
    fn numbers_beyond_a_double_are_null_inside_and_infinite_alone() {
        assert_eq!(text("[1e400,-1e400,-0,-0.0,1e-400]"), "[null,null,0,0,0]");
        assert_eq!(text("1e400"), "Infinity");
        assert_eq!(text("-1e400"), "-Infinity");
    }

    #[test]
    fn the_last_of_duplicate_keys_counts() {
        assert_eq!(text(r#"{"b":1,"a":2,"\u0062":3}"#), r#"{"a":2,"b":3}"#);
        let many: String = (0..100).map(|i| format!("\"k{}\":{i},", i % 50)).collect();
        let json = format!("{{{}\"k0\":-1}}", many);
        let canonical = text(&json);
        assert_eq!(canonical.matches(':').count(), 50);
        assert!(canonical.starts_with(r#"{"k0":-1,"k1":51,"#), "{canonical}");
    }

    #[test]
    fn a_key_named_proto_vanishes_at_every_depth() {
        assert_eq!(
            text(r#"{"__proto__":{"x":1},"a":[{"__proto__":1}],"_":2}"#),
            r#"{"_":2,"a":[{}]}"#
        );
        let value = serde_json::json!({"__proto__": 1, "a": {"__proto__": 2, "__proto": 3}});
        assert_eq!(Canonicalizer::new().unwrap().value(&value), r#"{"a":{"__proto":3}}"#);
    }

    #[test]
    fn keys_that_collate_as_equal_keep_the_order_of_their_first_appearance() {
        // A composed and a decomposed letter are equal to the collation, and remain two keys.
        assert_eq!(
            text("{\"e\u{301}\":1,\"\u{e9}\":2,\"e\u{301}\":3}"),
            "{\"e\u{301}\":3,\"\u{e9}\":2}"
        );
        assert_eq!(text("{\"\u{e9}\":1,\"e\u{301}\":2}"), "{\"\u{e9}\":1,\"e\u{301}\":2}");
    }

    #[test]
    fn integer_like_keys_come_first_and_only_canonical_ones_count() {
        assert_eq!(
            text(r#"{"a":0,"4294967295":1,"4294967294":2,"01":3,"10":4,"9":5,"-1":6,"0":7}"#),
            r#"{"0":7,"9":5,"10":4,"4294967294":2,"-1":6,"01":3,"4294967295":1,"a":0}"#
        );
    }

    #[test]
    fn depth_costs_no_stack() {
        let depth = 1_000_000;
        let json = format!("{}{}{}", r#"{"a":["#.repeat(depth), "7", "]}".repeat(depth));
        assert_eq!(text(&json), json);
    }

    #[test]
    fn unpaired_surrogates_print_escaped_inside_and_as_replacement_alone() {
        assert_eq!(
            text(r#"["\uD800","\udfffx","\ud83d\ude00"]"#),
            "[\"\\ud800\",\"\\udfffx\",\"😀\"]"
        );
        assert_eq!(text(r#""a\ud800\ud800""#), "a\u{fffd}\u{fffd}");
        assert_eq!(
            Canonicalizer::new().unwrap().text(r#"{"a":1,"\udc00":2}"#),
            Err(CanonicalError::UnpairedSurrogateInKey { offset: 8 })
        );
    }

    #[test]
    fn what_json_parse_refuses_is_refused_with_the_place() {
        let long = format!("{}x", " ".repeat(50));
        for (json, offset) in [
            ("", 0),
            (&long, 50),
            ("\u{feff}1", 0),
            ("[1,]", 3),
            ("{\"a\":1,}", 7),
            ("{a:1}", 1),
            ("[1 2]", 3),
            ("01", 1),
            ("-", 1),
            ("1.", 2),
            (".5", 0),
            ("1e", 2),
            ("+1", 0),
            ("tru", 0),
            ("\"\n\"", 1),
            ("\"\\x\"", 2),
            ("\"\\u12g4\"", 5),
            ("\"", 1),
            ("[", 1),
            ("{\"a\"", 4),
            ("1 1", 2),
            ("]", 0),
            ("[}", 1),
            ("{]", 1),
            ("[1}", 2),
            ("NaN", 0),
            ("\u{a0}1", 0),
        ] {
            match Canonicalizer::new().unwrap().text(json) {
                Err(CanonicalError::NotJson { offset: found, .. }) => {
                    assert_eq!(found, offset, "{json:?}")
                }
                other => panic!("{json:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_locale_moves_letters_and_a_bad_tag_is_refused() {
        let json = r#"{"z":1,"å":2,"a":3}"#;
        assert_eq!(text(json), r#"{"a":3,"å":2,"z":1}"#);
        let swedish = Canonicalizer::for_locale("sv").unwrap();
        assert_eq!(swedish.text(json).unwrap(), r#"{"a":3,"z":1,"å":2}"#);
        assert_eq!(Canonicalizer::for_locale("en-US").unwrap().text(json).unwrap(), text(json));
        assert!(Canonicalizer::for_locale("not a tag").is_err());
    }
}
