//! Where two canonical texts part.

use serde_json::{Value, json};

/// How many characters are shown from the first difference on.
const SHOWN: usize = 40;

/// The lines of a request's canonical text.
const PARTS: [&str; 5] = ["method", "path", "timestamp", "nonce", "body hash"];

/// The first difference of two canonical requests, with the part of the request that it is in.
pub(super) fn of_requests(ours: &str, given: &str) -> Option<Value> {
    let at = first(ours, given)?;
    let line = ours[..at].matches('\n').count();
    let part = PARTS.get(line).copied().unwrap_or("end");
    Some(shown("canonical", part, ours, given, at))
}

/// The first difference of two texts.
pub(super) fn of_texts(ours: &str, given: &str) -> Option<Value> {
    first(ours, given).map(|at| shown("canonical", "message", ours, given, at))
}

fn shown(place: &str, part: &str, ours: &str, given: &str, at: usize) -> Value {
    let excerpt = |text: &str| text[at..].chars().take(SHOWN).collect::<String>();
    json!({
        "in": place,
        "part": part,
        "offset": at,
        "ours": excerpt(ours),
        "given": excerpt(given),
    })
}

/// The byte at which the texts part: always the start of a character in both.
fn first(ours: &str, given: &str) -> Option<usize> {
    let same: usize = ours
        .chars()
        .zip(given.chars())
        .take_while(|(ours, given)| ours == given)
        .map(|(ours, _)| ours.len_utf8())
        .sum();
    (same < ours.len() || same < given.len()).then_some(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_of_the_first_difference_is_named() {
        let ours = "GET\n/a?b\n17\nn\n00";
        for (given, part, offset) in [
            ("PUT\n/a?b\n17\nn\n00", "method", 0),
            ("GET\n/a\n17\nn\n00", "path", 6),
            ("GET\n/a?b\n170\nn\n00", "timestamp", 11),
            ("GET\n/a?b\n17\nn\n00\n", "body hash", 16),
        ] {
            let found = of_requests(ours, given).unwrap();
            assert_eq!((&found["part"], &found["offset"]), (&part.into(), &offset.into()));
        }
        assert_eq!(of_requests(ours, ours), None);
    }

    #[test]
    fn a_difference_is_shown_from_the_start_of_its_character() {
        let found = of_texts("aé", "aè").unwrap();
        assert_eq!((&found["offset"], &found["ours"]), (&1.into(), &"é".into()));
        assert_eq!(of_texts("", "x").unwrap()["given"], "x");
    }
}
