//! What must not be shown: texts that have something of a known secret in them, and texts that look
//! like a secret that is not known.

use std::fmt;

use zeroize::Zeroizing;

/// So many characters in a row give something of a secret away: a third of it, and no fewer than
/// these, since secrets that people choose may have names in them.
const RUN: usize = 8;

/// So many digits of a key, a hash or a digest in a row are no name.
const HEX_RUN: usize = 32;

/// The same for other notations. Sixteen bytes have at least 22 characters in base64.
const KEY_RUN: usize = 20;

/// Longest secret that texts are compared with, and how many there may be. A message with more in it
/// shows no text at all.
const LONGEST: usize = 512;
const MOST: usize = 64;

/// Compares texts with secrets. Letters count without their case.
pub(crate) struct Guard {
    secrets: Vec<Zeroizing<Vec<u8>>>,
    /// Nothing passes.
    closed: bool,
}

impl Guard {
    /// Knows these secrets.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut guard = Self { secrets: Vec::new(), closed: false };
        secrets.into_iter().for_each(|secret| guard.learn(secret));
        guard
    }

    /// Knows one more.
    pub(super) fn learn(&mut self, secret: &str) {
        if secret.len() > LONGEST || self.secrets.len() == MOST {
            self.closed = true;
        } else if !secret.is_empty() {
            self.secrets.push(Zeroizing::new(secret.to_ascii_lowercase().into_bytes()));
        }
    }

    /// Whether the whole text may be shown. Of one that may not, no part may be.
    pub(crate) fn passes(&self, text: &str) -> bool {
        if self.closed || looks_like_a_key(text) {
            return false;
        }
        let text = Zeroizing::new(text.to_ascii_lowercase().into_bytes());
        !self.secrets.iter().any(|secret| shares(secret, &text))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("secrets", &self.secrets.len()).finish_non_exhaustive()
    }
}

/// Whether a text has a part of the secret in it that is too long for chance.
fn shares(secret: &[u8], text: &[u8]) -> bool {
    let run = RUN.max(secret.len() / 3).min(secret.len());
    secret.windows(run).any(|part| text.windows(run).any(|other| part == other))
}

fn looks_like_a_key(text: &str) -> bool {
    let hex = |c: &char| c.is_ascii_hexdigit();
    if runs(text, hex).any(|run| run.len() >= HEX_RUN) {
        return true;
    }
    let of_keys = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_');
    runs(text, of_keys).any(|run| {
        let has = |kind: fn(&u8) -> bool| run.bytes().any(|byte| kind(&byte));
        run.len() >= KEY_RUN
            && has(u8::is_ascii_lowercase)
            && has(u8::is_ascii_uppercase)
            && has(u8::is_ascii_digit)
    })
}

/// The longest parts of a text that consist of such characters.
fn runs(text: &str, such: impl Fn(&char) -> bool) -> impl Iterator<Item = &str> {
    text.split(move |c: char| !such(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_a_secret_in_a_row_is_too_much() {
        let guard = Guard::new(["correct horse battery"]);
        for text in ["correct horse battery", "the horse bat", "CORRECT H", "x correct horse"] {
            assert!(!guard.passes(text), "{text}");
        }
        for text in ["correct", "webshop", "", "horsebattery"] {
            assert!(guard.passes(text), "{text}");
        }
    }

    #[test]
    fn a_name_that_a_long_secret_has_in_it_is_still_a_name() {
        let guard = Guard::new(["propagation-secret-of-authority"]);
        assert!(guard.passes("authority"));
        assert!(!guard.passes("of-authority"));
    }

    #[test]
    fn a_short_secret_is_looked_for_as_a_whole() {
        let guard = Guard::new(["abc", ""]);
        assert!(!guard.passes("xABCx"));
        assert!(guard.passes("ab"));
    }

    #[test]
    fn what_looks_like_a_key_does_not_pass_although_nobody_knows_it() {
        let guard = Guard::new([]);
        let random = "kX9vJ2mQ7pLr4TzW8nYb1A";
        for text in [&"a1".repeat(16), &"A1".repeat(32), random, &format!("id: {random}.")] {
            assert!(!guard.passes(text), "{text}");
        }
        let id = "3f0c9f52-6d0e-4a54-9f8e-1f2f4c2d7b11";
        for text in [id, "service-orders-production-eu-west-1", "Webshop 2", "credential.update"] {
            assert!(guard.passes(text), "{text}");
        }
    }

    #[test]
    fn secrets_without_end_close_the_guard() {
        assert!(!Guard::new(["x".repeat(LONGEST + 1).as_str()]).passes("webshop"));
        let many: Vec<String> = (0..=MOST).map(|n| format!("secret number {n}")).collect();
        assert!(!Guard::new(many.iter().map(String::as_str)).passes("webshop"));
    }
}
