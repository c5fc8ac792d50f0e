//! A message as far as it may be shown.
//!
//! What is shown is chosen field by field, by what a good value looks like: words of the contract,
//! numbers, names by their rule, ids that are UUIDs, address rules. All else is described. What is
//! chosen still has to pass the guard, which knows this peer's secrets and all that stands where a
//! secret belongs in the message itself.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use super::guard::Guard;
use super::tree::Tree;
use crate::auth::IpRule;
use crate::id::{ClientId, PeerQueue};

/// Longest message that is looked into, in bytes.
const LONGEST: usize = 64 << 10;
/// Most bytes of what is shown.
const MOST_BYTES: usize = 4 << 10;
/// Most address rules that are shown.
const MOST_RULES: usize = 20;
/// Most unknown fields that are named, and their longest name.
const MOST_NAMES: usize = 16;
const LONGEST_NAME: usize = 24;

/// What a field of the contract may show.
#[derive(Clone, Copy)]
enum Kind {
    Secret,
    /// Free text: it may say anything.
    Text,
    Id,
    Number,
    Sender,
    Client,
    Word(&'static [&'static str]),
    Rules,
    Fields(&'static [(&'static str, Kind)]),
}

const OPS: &[&str] =
    &["credential.create", "credential.update", "credential.delete", "credential.ack"];

/// The fields of the wire contract.
const MESSAGE: &[(&str, Kind)] = &[
    ("eventId", Kind::Id),
    ("ts", Kind::Number),
    ("propagationSecret", Kind::Secret),
    ("senderAmqpQueue", Kind::Sender),
    ("op", Kind::Word(OPS)),
    ("track", Kind::Word(&["http", "message"])),
    ("clientId", Kind::Client),
    ("payload", Kind::Fields(PAYLOAD)),
    ("ackEventId", Kind::Id),
    ("ackResult", Kind::Word(&["applied", "error"])),
    ("ackReason", Kind::Text),
    ("held", Kind::Fields(HELD)),
];

const PAYLOAD: &[(&str, Kind)] =
    &[("secretHash", Kind::Secret), ("allowedIps", Kind::Rules), ("expiresAt", Kind::Number)];

const HELD: &[(&str, Kind)] = &[("ts", Kind::Number), ("senderAmqpQueue", Kind::Sender)];

/// The fields as they may be shown, and the guard that has learnt the message's own secrets. `None`:
/// nothing may be shown.
pub(super) fn view(body: &[u8], guard: &mut Guard) -> Option<Value> {
    if body.len() > LONGEST {
        return None;
    }
    let Fields(fields) = serde_json::from_slice(body).ok()?;
    learn(&fields, MESSAGE, guard);
    let shown = Value::Object(show(&fields, MESSAGE, guard));
    (shown.to_string().len() <= MOST_BYTES).then_some(shown)
}

/// What stands where a secret belongs is one, also if it is not this peer's.
fn learn(fields: &[(String, Option<Tree>)], known: &[(&str, Kind)], guard: &mut Guard) {
    for (name, value) in fields {
        match (kind_of(name, known), value) {
            (Some(Kind::Secret), Some(value)) => value.each_text(&mut |text| guard.learn(text)),
            (Some(Kind::Fields(inner)), Some(Tree::Object(fields))) => {
                for (name, value) in fields {
                    if matches!(kind_of(name, inner), Some(Kind::Secret)) {
                        value.each_text(&mut |text| guard.learn(text));
                    }
                }
            }
            _ => {}
        }
    }
}

fn kind_of(name: &str, known: &[(&str, Kind)]) -> Option<Kind> {
    known.iter().find(|(other, _)| *other == name).map(|(_, kind)| *kind)
}

/// The fields in the contract's order. Of duplicates the last one counts, as it does for a receiver.
fn show(
    fields: &[(String, Option<Tree>)],
    known: &[(&str, Kind)],
    guard: &Guard,
) -> Map<String, Value> {
    let mut shown = Map::new();
    let mut repeated: Vec<&str> = Vec::new();
    for (name, kind) in known {
        let mut values = fields.iter().filter(|(other, _)| other == name).map(|(_, value)| value);
        let Some(value) = values.next_back() else { continue };
        if values.next().is_some() {
            repeated.push(name);
        }
        if let Some(value) = value {
            shown.insert((*name).into(), show_value(value, *kind, guard));
        }
    }
    if !repeated.is_empty() {
        shown.insert("repeatedFields".into(), repeated.into());
    }
    let unknown = fields.iter().map(|(name, _)| name.as_str());
    let unknown: Vec<&str> = unknown.filter(|name| kind_of(name, known).is_none()).collect();
    let mut named: Vec<&str> =
        unknown.iter().copied().filter(|name| is_plain_name(name) && guard.passes(name)).collect();
    named.truncate(MOST_NAMES);
    let unnamed = unknown.len() - named.len();
    if !named.is_empty() {
        shown.insert("unknownFields".into(), named.into());
    }
    if unnamed > 0 {
        shown.insert("unknownFieldsNotNamed".into(), unnamed.into());
    }
    shown
}

fn show_value(value: &Tree, kind: Kind, guard: &Guard) -> Value {
    let shown = match (kind, value) {
        (Kind::Fields(known), Tree::Object(fields)) => return show_object(fields, known, guard),
        (Kind::Rules, Tree::List(rules)) => return show_rules(rules, guard),
        (Kind::Secret | Kind::Text, _) => None,
        (_, Tree::Null) => Some(Value::Null),
        (Kind::Number, Tree::Number(number)) => {
            guard.passes(&number.to_string()).then(|| Value::Number(number.clone()))
        }
        (kind, Tree::Text(text)) => {
            (is_good(text, kind) && guard.passes(text)).then(|| Value::from(text.as_str()))
        }
        _ => None,
    };
    shown.unwrap_or_else(|| redacted(value))
}

fn show_object(fields: &[(String, Tree)], known: &[(&str, Kind)], guard: &Guard) -> Value {
    let mut shown = Map::new();
    for (name, kind) in known {
        if let Some((_, value)) = fields.iter().rev().find(|(other, _)| other == name) {
            shown.insert((*name).into(), show_value(value, *kind, guard));
        }
    }
    let unknown = fields.iter().filter(|(name, _)| kind_of(name, known).is_none()).count();
    if unknown > 0 {
        shown.insert("unknownFieldsNotNamed".into(), unknown.into());
    }
    Value::Object(shown)
}

fn show_rules(rules: &[Tree], guard: &Guard) -> Value {
    let mut shown: Vec<Value> =
        rules.iter().take(MOST_RULES).map(|rule| show_rule(rule, guard)).collect();
    if rules.len() > MOST_RULES {
        shown.push(json!({ "redacted": format!("{} more", rules.len() - MOST_RULES) }));
    }
    Value::Array(shown)
}

fn show_rule(rule: &Tree, guard: &Guard) -> Value {
    if let Tree::Text(text) = rule
        && let Ok(read) = IpRule::parse(text)
        && guard.passes(read.as_str())
    {
        return read.as_str().into();
    }
    redacted(rule)
}

/// Whether a text is what its field is for. Secrets that are not known are kept out by it.
fn is_good(text: &str, kind: Kind) -> bool {
    match kind {
        Kind::Id => is_uuid(text),
        Kind::Sender => PeerQueue::new(text).is_ok(),
        Kind::Client => ClientId::new(text).is_ok(),
        Kind::Word(words) => words.contains(&text),
        Kind::Secret | Kind::Text | Kind::Number | Kind::Rules | Kind::Fields(_) => false,
    }
}

fn is_uuid(text: &str) -> bool {
    let groups = [8, 4, 4, 4, 12];
    text.len() == 36
        && text.split('-').count() == groups.len()
        && text.split('-').zip(groups).all(|(group, length)| {
            group.len() == length && group.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-'))
}

fn redacted(value: &Tree) -> Value {
    json!({ "redacted": value.describe() })
}

/// The fields of an object. Those that the contract does not have are skipped without being read,
/// however deep they nest, as a receiver does.
struct Fields(Vec<(String, Option<Tree>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = if kind_of(&name, MESSAGE).is_some() {
                Some(map.next_value()?)
            } else {
                map.next_value::<IgnoredAny>()?;
                None
            };
            fields.push((name, value));
        }
        Ok(Fields(fields))
    }
}

#[cfg(test)]
mod tests;
