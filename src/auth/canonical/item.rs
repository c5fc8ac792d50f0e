//! A message laid out flat: every value in the order of the text, containers before their contents.

use std::borrow::Cow;

/// One value, or one key. In an object, keys and values alternate.
#[derive(Debug)]
pub(super) enum Item<'a> {
    Null,
    Bool(bool),
    /// As JavaScript holds it; may be infinite.
    Number(f64),
    /// A number that is its own JavaScript text.
    Integer(&'a str),
    /// A string as it stands between its quotes in JSON, escapes and all.
    Quoted(&'a str),
    /// A string without escapes of JSON.
    Plain(&'a str),
    /// A key without escapes of JSON.
    Key(Cow<'a, str>),
    /// `end` is the index after the last item inside.
    Array {
        end: usize,
    },
    Object {
        end: usize,
    },
}

/// The index after a value and all that it contains.
pub(super) fn after(items: &[Item<'_>], index: usize) -> usize {
    match items.get(index) {
        Some(Item::Array { end } | Item::Object { end }) => *end,
        _ => index + 1,
    }
}

/// Notes where a container ends, once that is known.
pub(super) fn close(items: &mut [Item<'_>], index: usize) {
    let behind = items.len();
    if let Some(Item::Array { end } | Item::Object { end }) = items.get_mut(index) {
        *end = behind;
    }
}
