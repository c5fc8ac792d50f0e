//! Laying out a message that `serde_json` parsed.

use std::borrow::Cow;
use std::slice;

use serde_json::{Number, Value, map};

use super::item::{self, Item};

/// The items of a message.
pub(super) fn items(message: &Value) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut next = Some(message);
    loop {
        if let Some(value) = next.take()
            && let Some(contents) = push(&mut items, value)
        {
            open.push(Open { item: items.len() - 1, contents });
        }
        let Some(innermost) = open.last_mut() else {
            return items;
        };
        next = innermost.contents.next(&mut items);
        if next.is_none() {
            item::close(&mut items, innermost.item);
            open.pop();
        }
    }
}

struct Open<'a> {
    item: usize,
    contents: Contents<'a>,
}

enum Contents<'a> {
    Array(slice::Iter<'a, Value>),
    Object(map::Iter<'a>),
}

impl<'a> Contents<'a> {
    /// The next value inside. Its key, if it has one, is laid out on the way.
    fn next(&mut self, items: &mut Vec<Item<'a>>) -> Option<&'a Value> {
        match self {
            Self::Array(values) => values.next(),
            Self::Object(members) => members.next().map(|(key, value)| {
                items.push(Item::Key(Cow::Borrowed(key)));
                value
            }),
        }
    }
}

fn push<'a>(items: &mut Vec<Item<'a>>, value: &'a Value) -> Option<Contents<'a>> {
    let (item, contents) = match value {
        Value::Null => (Item::Null, None),
        Value::Bool(truth) => (Item::Bool(*truth), None),
        Value::Number(number) => (Item::Number(double(number)), None),
        Value::String(text) => (Item::Plain(text), None),
        Value::Array(values) => (Item::Array { end: 0 }, Some(Contents::Array(values.iter()))),
        Value::Object(map) => (Item::Object { end: 0 }, Some(Contents::Object(map.iter()))),
    };
    items.push(item);
    contents
}

/// The number as a double. It has one directly, unless another crate of the program switched on
/// `serde_json/arbitrary_precision` and the number is out of range: then its text decides.
fn double(number: &Number) -> f64 {
    number.as_f64().unwrap_or_else(|| number.to_string().parse().unwrap_or(f64::NAN))
}
