//! Second step, after the sender proved itself: what the message asks for.

use serde_json::Value;

use super::encode::{AckEvent, Held, StoreNamed};
use super::envelope::{Envelope, Rest};
use crate::cursor::{Cursor, Timestamp};
use crate::id::{ClientId, CredentialKey, EventId, PeerQueue, Track};
use crate::secret::SecretHash;
use crate::store::{AllowedIps, Change, Expiry};

/// A message, understood.
#[derive(Debug)]
pub(crate) enum Message {
    Apply(Box<ApplyReceived>),
    Ack(AckReceived),
}

/// A credential event that is complete and valid.
#[derive(Debug)]
pub(crate) struct ApplyReceived {
    pub(crate) source: PeerQueue,
    pub(crate) key: CredentialKey,
    /// The event's version.
    pub(crate) version: Cursor,
    pub(crate) change: Change,
}

/// An answer to an event of ours.
#[derive(Clone, Debug)]
pub(crate) struct AckReceived {
    pub(crate) sender: PeerQueue,
    pub(crate) ack_event_id: EventId,
    pub(crate) result: AckResult,
    /// The sender proved that it knows our propagation secret.
    pub(crate) signed: bool,
    /// The sender's store, where it names one.
    pub(crate) store: Option<StoreNamed>,
    /// It answers no event: it only tells of the store. Such a message names itself as what it
    /// answers, which peers that do not know of it drop as unknown.
    pub(crate) announces: bool,
}

/// What a target says of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AckResult {
    Applied,
    /// Nothing was applied: the target holds another version.
    Held(Held),
    Error(String),
}

/// Why an authenticated message cannot be carried out, ever. The text names the field and what was
/// expected and is safe to send back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(pub(crate) String);

impl Invalid {
    fn field(field: &str, expected: &str) -> Self {
        Self(format!("{field}: expected {expected}"))
    }
}

/// Longest reason that is kept of what a peer sent.
const MAX_REASON: usize = 300;

/// Whether the envelope holds an answer.
pub(crate) fn is_ack(envelope: &Envelope) -> bool {
    envelope.op == AckEvent::OP
}

/// Understands an envelope.
///
/// `signed` tells whether the sender proved that it knows the propagation secret.
pub(crate) fn interpret(envelope: Envelope, signed: bool) -> Result<Message, Invalid> {
    match envelope.op.as_str() {
        "credential.create" | "credential.update" => apply(envelope, true),
        "credential.delete" => apply(envelope, false),
        AckEvent::OP => ack(envelope, signed),
        _ => Err(Invalid::field("op", "credential.create, .update, .delete or .ack")),
    }
}

fn apply(envelope: Envelope, put: bool) -> Result<Message, Invalid> {
    let Envelope { event_id, ts, sender, rest, .. } = envelope;
    let track = text(rest.track.as_ref())
        .and_then(|name| name.parse::<Track>().ok())
        .ok_or_else(|| Invalid::field("track", "`http` or `message`"))?;
    let client_id =
        text(rest.client_id.as_ref()).and_then(|id| ClientId::new(id).ok()).ok_or_else(|| {
            Invalid::field("clientId", "1 to 256 bytes, not blank, without control characters")
        })?;
    let payload = match &rest.payload {
        Some(Value::Object(fields)) => fields,
        _ => return Err(Invalid::field("payload", "an object")),
    };
    let change = if put { put_of(payload)? } else { Change::Delete };
    Ok(Message::Apply(Box::new(ApplyReceived {
        key: CredentialKey::new(track, client_id),
        version: Cursor { ts, event_id, source: Some(sender.clone()) },
        source: sender,
        change,
    })))
}

fn put_of(payload: &serde_json::Map<String, Value>) -> Result<Change, Invalid> {
    let secret_hash = text(payload.get("secretHash"))
        .and_then(|hash| SecretHash::parse(hash).ok())
        .ok_or_else(|| Invalid::field("payload.secretHash", "64 hexadecimal digits"))?;
    Ok(Change::Put {
        secret_hash,
        allowed_ips: allowed_ips(payload.get("allowedIps"))?,
        expires_at: expiry(payload.get("expiresAt"))?,
    })
}

/// Absent keeps what is stored. `null` is refused: read as "no list" it would open the credential
/// to every address.
fn allowed_ips(value: Option<&Value>) -> Result<Option<AllowedIps>, Invalid> {
    let rules = match value {
        None => return Ok(None),
        Some(Value::Array(rules)) => rules,
        Some(_) => return Err(Invalid::field("payload.allowedIps", "an array of strings")),
    };
    let texts = rules
        .iter()
        .map(|rule| text(Some(rule)))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Invalid::field("payload.allowedIps", "an array of strings"))?;
    AllowedIps::parse(&texts).map(Some).map_err(|e| Invalid(format!("payload.{e}")))
}

fn expiry(value: Option<&Value>) -> Result<Expiry, Invalid> {
    let ms = match value {
        None => return Ok(Expiry::Keep),
        Some(Value::Null) => return Ok(Expiry::Never),
        Some(value) => value.as_f64(),
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    match ms {
        // Before the epoch is as expired as at the epoch.
        Some(ms) if ms.is_finite() && ms < 9_007_199_254_740_992.0 => {
            Ok(Expiry::At(ms.max(0.0) as u64))
        }
        _ => Err(Invalid::field("payload.expiresAt", "null or milliseconds below 2^53")),
    }
}

fn ack(envelope: Envelope, signed: bool) -> Result<Message, Invalid> {
    let Rest { ack_event_id, ack_result, ack_reason, held, store, .. } = envelope.rest;
    let ack_event_id = text(ack_event_id.as_ref())
        .and_then(|id| EventId::new(id).ok())
        .ok_or_else(|| Invalid::field("ackEventId", "a non-empty string"))?;
    let result = match text(ack_result.as_ref()) {
        Some("applied") => held
            .and_then(|held| serde_json::from_value(held).ok())
            .map_or(AckResult::Applied, AckResult::Held),
        Some("error") => AckResult::Error(reason(text(ack_reason.as_ref()))),
        _ => return Err(Invalid::field("ackResult", "`applied` or `error`")),
    };
    // An addition: what cannot be read counts as absent.
    let store: Option<StoreNamed> = store.and_then(|store| serde_json::from_value(store).ok());
    let announces = store.is_some() && ack_event_id == envelope.event_id;
    let sender = envelope.sender;
    Ok(Message::Ack(AckReceived { sender, ack_event_id, result, signed, store, announces }))
}

/// A peer's words end up in rows and on pages: bounded, and without control characters.
fn reason(text: Option<&str>) -> String {
    let text = text.unwrap_or("the target gave no reason");
    let mut characters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut kept: String = characters.by_ref().take(MAX_REASON).collect();
    if characters.next().is_some() {
        kept.push('…');
    }
    kept
}

fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}

/// A `ts` further ahead than `most_ahead_ms` would freeze the credential until time catches up.
pub(crate) fn check_not_ahead(
    ts: Timestamp,
    now_ms: u64,
    most_ahead_ms: u64,
) -> Result<(), Invalid> {
    #[allow(clippy::cast_precision_loss)]
    let latest = now_ms.saturating_add(most_ahead_ms) as f64;
    if ts.as_f64() > latest {
        return Err(Invalid(format!(
            "ts: expected at most {most_ahead_ms} ms ahead of this peer's clock"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fields: &str) -> Result<Message, Invalid> {
        let body = format!(
            r#"{{"eventId":"e","ts":5,"propagationSecret":"s","senderAmqpQueue":"a",{fields}}}"#
        );
        let envelope = Envelope::decode(body.as_bytes(), 1 << 20).unwrap_or_else(|e| panic!("{e}"));
        interpret(envelope, true)
    }

    fn put(payload: &str) -> Result<Message, Invalid> {
        message(&format!(
            r#""op":"credential.update","track":"http","clientId":"c","payload":{payload}"#
        ))
    }

    fn with_hash(more: &str) -> String {
        format!(r#"{{"secretHash":"{}"{more}}}"#, "AB".repeat(32))
    }

    fn refusal(result: Result<Message, Invalid>) -> String {
        result.err().map(|e| e.to_string()).unwrap_or_else(|| "understood".into())
    }

    #[test]
    fn absent_keeps_and_null_clears_an_expiry() {
        for (more, expected) in [
            ("", Expiry::Keep),
            (r#","expiresAt":null"#, Expiry::Never),
            (r#","expiresAt":1700000000000"#, Expiry::At(1_700_000_000_000)),
            (r#","expiresAt":-1"#, Expiry::At(0)),
        ] {
            let Ok(Message::Apply(event)) = put(&with_hash(more)) else { panic!("{more}") };
            let Change::Put { secret_hash, expires_at, .. } = event.change else { panic!() };
            assert_eq!(secret_hash.expose(), "ab".repeat(32));
            assert_eq!(expires_at, expected);
        }
    }

    #[test]
    fn what_could_open_or_empty_a_credential_is_refused_by_name() {
        for (payload, field) in [
            (r#"{}"#.to_string(), "payload.secretHash"),
            (r#"{"secretHash":""}"#.into(), "payload.secretHash"),
            (r#"{"secretHash":7}"#.into(), "payload.secretHash"),
            ("null".into(), "payload"),
            (with_hash(r#","allowedIps":null"#), "payload.allowedIps"),
            (with_hash(r#","allowedIps":"10.0.0.1""#), "payload.allowedIps"),
            (with_hash(r#","allowedIps":[1]"#), "payload.allowedIps"),
            (with_hash(r#","allowedIps":["10.0.0.0/33"]"#), "payload.allowedIps"),
            (with_hash(r#","expiresAt":"soon""#), "payload.expiresAt"),
            (with_hash(r#","expiresAt":1e300"#), "payload.expiresAt"),
        ] {
            let shown = refusal(put(&payload));
            assert!(shown.starts_with(field), "{payload}: {shown}");
        }
    }

    #[test]
    fn unknown_operations_tracks_and_odd_clients_are_refused_by_name() {
        let payload = with_hash("");
        for (op, track, client, field) in [
            ("credential.drop", r#""http""#, r#""c""#, "op"),
            ("credential.update", r#""smtp""#, r#""c""#, "track"),
            ("credential.update", "null", r#""c""#, "track"),
            ("credential.update", r#""http""#, r#""""#, "clientId"),
            ("credential.update", r#""http""#, r#""a\nb""#, "clientId"),
            ("credential.update", r#""http""#, "7", "clientId"),
        ] {
            let shown = refusal(message(&format!(
                r#""op":"{op}","track":{track},"clientId":{client},"payload":{payload}"#
            )));
            assert!(shown.starts_with(&format!("{field}: ")), "{shown}");
        }
    }

    #[test]
    fn an_answer_says_applied_held_or_why_not() {
        let ack = |more: &str| match message(&format!(
            r#""op":"credential.ack","ackEventId":"x",{more}"#
        )) {
            Ok(Message::Ack(ack)) => ack.result,
            other => panic!("{other:?}"),
        };
        assert_eq!(ack(r#""ackResult":"applied","ackReason":null"#), AckResult::Applied);
        let held = ack(r#""ackResult":"applied","held":{"ts":9,"senderAmqpQueue":"b"}"#);
        assert!(matches!(held, AckResult::Held(Held { sender_amqp_queue: Some(_), .. })));
        let AckResult::Error(reason) =
            ack(&format!(r#""ackResult":"error","ackReason":"a\nb{}""#, "x".repeat(9_999)))
        else {
            panic!()
        };
        assert!(reason.starts_with("a bx") && reason.chars().count() == MAX_REASON + 1);
        // A control character of two bytes is no cut.
        let whole = ack(r#""ackResult":"error","ackReason":"full\u0085""#);
        assert_eq!(whole, AckResult::Error("full ".into()));
        assert!(
            refusal(message(r#""op":"credential.ack","ackEventId":"x""#)).starts_with("ackResult")
        );
    }

    #[test]
    fn a_timestamp_far_ahead_is_refused() {
        let at = |ms: f64| Timestamp::new(ms).unwrap();
        assert!(check_not_ahead(at(1_300.0), 1_000, 300).is_ok());
        for ahead in [1_301.0, 9_007_199_254_740_992.0, 1e308] {
            assert!(check_not_ahead(at(ahead), 1_000, 300).is_err(), "{ahead}");
        }
    }
}
