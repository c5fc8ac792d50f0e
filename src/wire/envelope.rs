//! First step: bytes to an envelope whose common fields are present and of the right type. Nothing
//! is believed yet.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::cursor::Timestamp;
use crate::id::{EventId, PeerQueue};

/// The common fields of every message, and the others as they came.
pub(crate) struct Envelope {
    pub(crate) event_id: EventId,
    pub(crate) ts: Timestamp,
    pub(crate) propagation_secret: Zeroizing<String>,
    pub(crate) sender: PeerQueue,
    pub(crate) op: String,
    pub(crate) rest: Rest,
}

/// The fields that only some operations have, not yet looked at.
#[derive(Default)]
pub(crate) struct Rest {
    pub(crate) track: Option<Value>,
    pub(crate) client_id: Option<Value>,
    pub(crate) payload: Option<Value>,
    pub(crate) ack_event_id: Option<Value>,
    pub(crate) ack_result: Option<Value>,
    pub(crate) ack_reason: Option<Value>,
    pub(crate) held: Option<Value>,
    pub(crate) store: Option<Value>,
}

/// Why a message cannot be understood at all. Names a field or the position, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("{size} bytes, more than the limit of {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("not a JSON object (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    #[error("{field}: expected {expected}")]
    Field { field: &'static str, expected: &'static str },
}

impl Envelope {
    /// Reads a body of at most `limit` bytes.
    pub(crate) fn decode(body: &[u8], limit: usize) -> Result<Self, Malformed> {
        if body.len() > limit {
            return Err(Malformed::TooLarge { size: body.len(), limit });
        }
        let fields: Fields = serde_json::from_slice(body)
            .map_err(|e| Malformed::NotJson { line: e.line(), column: e.column() })?;
        Ok(Self {
            event_id: text("eventId", "a non-empty string", fields.event_id)
                .and_then(|id| valid("eventId", "1 to 128 printable bytes", EventId::new(id)))?,
            ts: number("ts", fields.ts)?,
            propagation_secret: text("propagationSecret", "a string", fields.propagation_secret)
                .map(Zeroizing::new)?,
            sender: text("senderAmqpQueue", "a string", fields.sender).and_then(|name| {
                valid("senderAmqpQueue", "letters, digits and hyphens", PeerQueue::new(name))
            })?,
            op: text("op", "a string", fields.op)?,
            rest: fields.rest,
        })
    }
}

fn text(
    field: &'static str,
    expected: &'static str,
    value: Option<Value>,
) -> Result<String, Malformed> {
    match value {
        Some(Value::String(text)) => Ok(text),
        _ => Err(Malformed::Field { field, expected }),
    }
}

fn number(field: &'static str, value: Option<Value>) -> Result<Timestamp, Malformed> {
    value
        .as_ref()
        .and_then(Value::as_f64)
        .and_then(|ms| Timestamp::new(ms).ok())
        .ok_or(Malformed::Field { field, expected: "a finite number" })
}

fn valid<T>(
    field: &'static str,
    expected: &'static str,
    parsed: crate::error::Result<T>,
) -> Result<T, Malformed> {
    parsed.map_err(|_| Malformed::Field { field, expected })
}

/// The object's fields. Written by hand because of what deployed peers do: the last of duplicate
/// keys wins, and unknown fields are skipped without being read, however deep they nest.
#[derive(Default)]
struct Fields {
    event_id: Option<Value>,
    ts: Option<Value>,
    propagation_secret: Option<Value>,
    sender: Option<Value>,
    op: Option<Value>,
    rest: Rest,
}

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
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let slot = match key.as_ref() {
                "eventId" => &mut fields.event_id,
                "ts" => &mut fields.ts,
                "propagationSecret" => &mut fields.propagation_secret,
                "senderAmqpQueue" => &mut fields.sender,
                "op" => &mut fields.op,
                "track" => &mut fields.rest.track,
                "clientId" => &mut fields.rest.client_id,
                "payload" => &mut fields.rest.payload,
                "ackEventId" => &mut fields.rest.ack_event_id,
                "ackResult" => &mut fields.rest.ack_result,
                "ackReason" => &mut fields.rest.ack_reason,
                "held" => &mut fields.rest.held,
                "store" => &mut fields.rest.store,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *slot = Some(map.next_value()?);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        r#"{"eventId":"e","ts":1,"propagationSecret":"s","senderAmqpQueue":"a","op":"o"}"#;

    fn decode(body: &[u8]) -> Result<Envelope, Malformed> {
        Envelope::decode(body, 1 << 20)
    }

    fn refusal(body: &str) -> String {
        decode(body.as_bytes()).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_last_of_duplicate_keys_wins() {
        let envelope = decode(GOOD.replace(r#""op":"o""#, r#""op":"x","op":"y""#).as_bytes());
        assert_eq!(envelope.unwrap_or_else(|e| panic!("{e}")).op, "y");
    }

    #[test]
    fn unknown_fields_are_skipped_however_deep_they_nest() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let body = GOOD.replace(r#""op""#, &format!(r#""more":{deep},"op""#));
        assert!(decode(body.as_bytes()).is_ok());
    }

    #[test]
    fn numbers_of_every_shape_are_timestamps() {
        for ts in ["1.5", "1e3", "-0", "1e21", "17000000000000000000000"] {
            let body = GOOD.replace(r#""ts":1"#, &format!(r#""ts":{ts}"#));
            assert!(decode(body.as_bytes()).is_ok(), "{ts}");
        }
    }

    #[test]
    fn what_is_missing_or_of_the_wrong_type_is_named() {
        for (from, to, field) in [
            (r#""eventId":"e""#, r#""eventId":"""#, "eventId"),
            (r#""eventId":"e""#, r#""eventId":7"#, "eventId"),
            (r#""eventId":"e","#, "", "eventId"),
            (r#""ts":1"#, r#""ts":"1""#, "ts"),
            (r#""ts":1"#, r#""ts":null"#, "ts"),
            (r#""propagationSecret":"s""#, r#""propagationSecret":null"#, "propagationSecret"),
            (r#""senderAmqpQueue":"a""#, r#""senderAmqpQueue":"../x""#, "senderAmqpQueue"),
            (r#""senderAmqpQueue":"a""#, r#""senderAmqpQueue":"a b""#, "senderAmqpQueue"),
            (r#""op":"o""#, r#""op":{}"#, "op"),
        ] {
            let shown = refusal(&GOOD.replace(from, to));
            assert!(shown.starts_with(&format!("{field}: expected")), "{to}: {shown}");
        }
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        let bom = [b"\xef\xbb\xbf".as_slice(), GOOD.as_bytes()].concat();
        let invalid_utf8 = [br#"{"eventId":""#.as_slice(), b"\xff", br#""}"#].concat();
        for body in [&b""[..], b"[]", b"null", b"{", b"\"x\"", &bom, &invalid_utf8] {
            assert!(matches!(decode(body), Err(Malformed::NotJson { .. })), "{body:?}");
        }
        let lone_surrogate = GOOD.replace(r#""e""#, r#""\ud800""#);
        assert!(matches!(decode(lone_surrogate.as_bytes()), Err(Malformed::NotJson { .. })));
        let infinite = GOOD.replace(r#""ts":1"#, r#""ts":1e400"#);
        assert!(decode(infinite.as_bytes()).is_err());
        let deep = format!(r#"{{"payload":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
        assert!(matches!(decode(deep.as_bytes()), Err(Malformed::NotJson { .. })));
    }

    #[test]
    fn a_body_beyond_the_limit_is_not_even_read() {
        let limit = GOOD.len() - 1;
        let refused = Envelope::decode(GOOD.as_bytes(), limit);
        assert_eq!(refused.err(), Some(Malformed::TooLarge { size: GOOD.len(), limit }));
    }
}
