//! The order of an object's keys, after JavaScript sorted them with `localeCompare` and rebuilt the
//! object from them.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use icu_collator::options::CollatorOptions;
use icu_collator::{CollatorBorrowed, CollatorPreferences};
use icu_locale_core::Locale;

use crate::error::{Error, Result};

/// A key, and where its value is.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) key: &'a str,
    pub(super) value: usize,
    /// The number that the key is, if JavaScript treats it as an index.
    index: Option<u32>,
}

impl<'a> Member<'a> {
    pub(super) fn new(key: &'a str, value: usize) -> Self {
        Self { key, value, index: array_index(key) }
    }
}

/// How keys compare.
#[derive(Clone)]
pub(super) struct KeyOrder {
    collator: Arc<CollatorBorrowed<'static>>,
    /// Whether printable ASCII has its place in the root order, so that a table replaces the collator.
    root_ascii: bool,
}

impl KeyOrder {
    pub(super) fn for_locale(tag: &str) -> Result<Self> {
        let locale: Locale = tag.parse().map_err(|_| {
            Error::invalid("locale", "a BCP 47 language tag such as en, sv or de-AT")
        })?;
        // English has no rules of its own. Others may have: `ch` is one letter in Czech.
        let root_ascii = locale.id.language.as_str() == "en" && locale.extensions.is_empty();
        let preferences = CollatorPreferences::from(&locale);
        let collator = CollatorBorrowed::try_new(preferences, CollatorOptions::default()).map_err(
            |source| Error::invalid("locale", "one that has collation data").with_source(source),
        )?;
        Ok(Self { collator: Arc::new(collator), root_ascii })
    }

    /// The members of an object, given as they stand in the text, as they stand in canonical text.
    pub(super) fn arrange<'a>(&self, mut members: Vec<Member<'a>>) -> Vec<Member<'a>> {
        keep_last_of_each(&mut members);
        // Assigning to this name sets the prototype of the rebuilt object, which is not printed.
        members.retain(|member| member.key != "__proto__");
        // Stable: keys that collate as equal stay in the order of their insertion.
        members.sort_by(|a, b| match (a.index, b.index) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => self.compare(a.key, b.key),
        });
        members
    }

    fn compare(&self, a: &str, b: &str) -> Ordering {
        if self.root_ascii
            && let Some(ordering) = compare_ascii(a.as_bytes(), b.as_bytes())
        {
            return ordering;
        }
        self.collator.compare(a, b)
    }
}

impl fmt::Debug for KeyOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyOrder").field("root_ascii", &self.root_ascii).finish_non_exhaustive()
    }
}

/// Of members with the same key, the last value at the place of the first, as in a JavaScript object.
fn keep_last_of_each(members: &mut Vec<Member<'_>>) {
    // Looking through a few members beats hashing them.
    const FEW: usize = 12;
    if members.len() <= FEW {
        let mut index = 1;
        while index < members.len() {
            let (earlier, rest) = members.split_at_mut(index);
            let member = &rest[0];
            match earlier.iter_mut().find(|earlier| earlier.key == member.key) {
                Some(first) => {
                    first.value = member.value;
                    members.remove(index);
                }
                None => index += 1,
            }
        }
        return;
    }
    let mut last: HashMap<&str, usize> = HashMap::with_capacity(members.len());
    for member in members.iter() {
        last.insert(member.key, member.value);
    }
    // Whoever takes a key's last value is the first member of that key.
    members.retain_mut(|member| match last.remove(member.key) {
        Some(value) => {
            member.value = value;
            true
        }
        None => false,
    });
}

/// The number of a key that JavaScript treats as an index: 0 to 4294967294 without leading zeros.
fn array_index(key: &str) -> Option<u32> {
    let canonical = match key.as_bytes() {
        b"0" => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 10 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let index = canonical.then(|| key.parse::<u32>().ok()).flatten()?;
    (index != u32::MAX).then_some(index)
}

/// The root order of two texts of printable ASCII; `None` when there is any other character.
///
/// Letters compare without regard to case first; only when all else is equal, the first difference in
/// case decides, lower before upper. A unit test compares this with the collator.
fn compare_ascii(a: &[u8], b: &[u8]) -> Option<Ordering> {
    let mut by_case = Ordering::Equal;
    let mut by_letter = Ordering::Equal;
    for (&x, &y) in a.iter().zip(b) {
        let (rank_x, rank_y) = (rank(x)?, rank(y)?);
        if by_letter.is_eq() {
            by_letter = rank_x.cmp(&rank_y);
        }
        if by_case.is_eq() {
            // In ASCII, upper case is the smaller code.
            by_case = y.cmp(&x);
        }
    }
    let shared = a.len().min(b.len());
    for &rest in a[shared..].iter().chain(&b[shared..]) {
        rank(rest)?;
    }
    Some(by_letter.then(a.len().cmp(&b.len())).then(by_case))
}

/// The place of a printable character in the root order, upper case at its lower case.
fn rank(byte: u8) -> Option<u8> {
    match RANKS[usize::from(byte)] {
        0 => None,
        rank => Some(rank),
    }
}

const RANKS: [u8; 256] = {
    let ascending = b" _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz";
    let mut ranks = [0; 256];
    let mut index = 0;
    let mut rank = 1;
    while index < ascending.len() {
        ranks[ascending[index] as usize] = rank;
        ranks[ascending[index].to_ascii_uppercase() as usize] = rank;
        index += 1;
        rank += 1;
    }
    ranks
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_collator(a: &str, b: &str) -> Ordering {
        KeyOrder::for_locale("en").unwrap().collator.compare(a, b)
    }

    #[test]
    fn the_table_orders_every_pair_of_printable_characters_as_the_collator_does() {
        let printable: Vec<String> = (b' '..=b'~').map(|b| char::from(b).to_string()).collect();
        for a in &printable {
            for b in &printable {
                let expected = by_collator(a, b);
                assert_eq!(compare_ascii(a.as_bytes(), b.as_bytes()), Some(expected), "{a} {b}");
            }
        }
    }

    #[test]
    fn the_table_leaves_everything_else_to_the_collator() {
        for odd in ["\0", "\t", "\u{7f}", "é", "a\u{301}"] {
            assert_eq!(compare_ascii(odd.as_bytes(), b"a"), None, "{odd:?}");
            assert_eq!(compare_ascii(b"a", format!("ab{odd}").as_bytes()), None, "{odd:?}");
        }
    }

    #[test]
    fn indices_are_canonical_numbers_below_the_largest_length() {
        for (key, index) in [("0", 0), ("1", 1), ("4294967294", 4_294_967_294)] {
            assert_eq!(array_index(key), Some(index));
        }
        for key in
            ["", "00", "01", "-0", "+1", "1.0", "4294967295", "42949672940", "1e3", "١", " 1"]
        {
            assert_eq!(array_index(key), None, "{key}");
        }
    }

    proptest! {
        #[test]
        fn the_table_orders_texts_as_the_collator_does(a in "[ -~]{0,12}", b in "[ -~]{0,12}") {
            prop_assert_eq!(compare_ascii(a.as_bytes(), b.as_bytes()), Some(by_collator(&a, &b)));
        }

        #[test]
        fn texts_that_differ_in_case_only_are_ordered_as_the_collator_does(a in "[aAbB_]{0,6}", b in "[aAbB_]{0,6}") {
            prop_assert_eq!(compare_ascii(a.as_bytes(), b.as_bytes()), Some(by_collator(&a, &b)));
        }
    }
}
