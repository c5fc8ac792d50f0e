//! Canonical text of messages.

use std::sync::LazyLock;

use serde_json::Value;

use crate::auth::{CanonicalError, Canonicalizer};

static ENGLISH: LazyLock<Option<Canonicalizer>> = LazyLock::new(|| Canonicalizer::new().ok());
static SWEDISH: LazyLock<Option<Canonicalizer>> =
    LazyLock::new(|| Canonicalizer::for_locale("sv").ok());

/// The reader takes what another JSON parser takes, and means the same by it; canonical text is
/// JSON again, and its own canonical text.
pub fn canonical(json: &[u8]) {
    let Ok(json) = std::str::from_utf8(json) else { return };
    let (Some(english), Some(swedish)) = (&*ENGLISH, &*SWEDISH) else {
        panic!("collation data is missing");
    };
    match english.text(json) {
        Ok(text) => {
            agrees(english, json, &text);
            is_its_own(english, json, &text);
            // Another order of keys, the same keys and values.
            let other = swedish.text(json).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(english.text(&other).unwrap_or(other), rewritten(english, text));
        }
        Err(CanonicalError::NotJson { offset, .. }) => {
            assert!(offset <= json.len(), "{offset}");
            assert!(serde_json::from_str::<Value>(json).is_err(), "refused at byte {offset}");
        }
        Err(CanonicalError::UnpairedSurrogateInKey { offset }) => {
            assert!(json.as_bytes().get(offset - 1) == Some(&b'"'), "{offset}");
            assert!(serde_json::from_str::<Value>(json).is_err(), "a key at byte {offset}");
        }
    }
}

/// What the other parser refuses although it is read here is what the documentation names.
fn agrees(canonicalizer: &Canonicalizer, json: &str, text: &str) {
    match serde_json::from_str::<Value>(json) {
        Ok(value) => assert_eq!(canonicalizer.value(&value), text),
        Err(error) => {
            let said = error.to_string();
            let known = ["recursion limit", "out of range", "surrogate", "hex escape"];
            assert!(known.iter().any(|known| said.contains(known)), "{said}");
        }
    }
}

/// A message that is no container prints bare: its text may be no JSON, or another message.
fn is_its_own(canonicalizer: &Canonicalizer, json: &str, text: &str) {
    if json.trim_start_matches([' ', '\t', '\n', '\r']).starts_with(['{', '[']) {
        assert_eq!(canonicalizer.text(text).as_deref(), Ok(text));
    }
}

fn rewritten(canonicalizer: &Canonicalizer, text: String) -> String {
    canonicalizer.text(&text).unwrap_or(text)
}
