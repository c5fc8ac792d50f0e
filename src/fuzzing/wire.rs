//! Messages from the broker.

use crate::cursor::Timestamp;
use crate::id::EventId;
use crate::store::{AllowedIps, Change, Expiry};
use crate::wire::{
    AckEvent, AckReceived, AckResult, ApplyEvent, ApplyReceived, Envelope, Held, Message, Payload,
    check_not_ahead, interpret,
};

const LIMIT: usize = 1 << 20;
const SECRET: &str = "the secret of this peer";

/// A body is refused in words that repeat nothing of it, or is understood; and what is understood is
/// understood alike after this peer wrote it.
pub fn wire(body: &[u8]) {
    let envelope = match Envelope::decode(body, LIMIT) {
        Ok(envelope) => envelope,
        Err(malformed) => return told(&malformed.to_string()),
    };
    let ts = envelope.ts;
    within_reach(ts);
    match interpret(envelope, true) {
        Err(invalid) => told(&invalid.to_string()),
        Ok(Message::Apply(event)) => written_apply_reads_back(ts, &event),
        Ok(Message::Ack(ack)) => written_ack_reads_back(ts, &ack),
    }
}

/// Whether a body is a message. For counting what reading one costs.
#[must_use]
pub fn is_understood(body: &[u8]) -> bool {
    Envelope::decode(body, LIMIT).is_ok_and(|envelope| interpret(envelope, true).is_ok())
}

/// What is sent back, or logged, is short and plain.
fn told(refusal: &str) {
    assert!((1..200).contains(&refusal.len()), "{} bytes", refusal.len());
    assert!(refusal.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{refusal:?}");
}

fn within_reach(ts: Timestamp) {
    let (now_ms, ahead) = (1_700_000_000_000, 300_000);
    let near = ts.as_f64() <= 1_700_000_300_000.0;
    assert_eq!(check_not_ahead(ts, now_ms, ahead).is_ok(), near, "{ts}");
}

fn written_apply_reads_back(ts: Timestamp, event: &ApplyReceived) {
    let (op, payload) = match &event.change {
        Change::Put { secret_hash, allowed_ips, expires_at } => {
            let expires_at = match expires_at {
                Expiry::At(ms) => Some(*ms),
                Expiry::Keep | Expiry::Never => None,
            };
            let allowed_ips = allowed_ips.as_ref().map(AllowedIps::as_slice);
            let secret_hash = secret_hash.expose();
            ("credential.update", Payload { secret_hash, allowed_ips, expires_at })
        }
        Change::Delete => {
            let nothing = Payload { secret_hash: "", allowed_ips: None, expires_at: None };
            ("credential.delete", nothing)
        }
    };
    let written = ApplyEvent {
        event_id: &event.version.event_id,
        ts,
        propagation_secret: SECRET,
        sender_amqp_queue: &event.source,
        op,
        track: event.key.track,
        client_id: &event.key.client_id,
        payload,
    };
    let Message::Apply(read) = understood(&written.to_body()) else {
        panic!("an apply event came back as another message");
    };
    assert_eq!((&read.source, &read.key), (&event.source, &event.key));
    // Cursors are equal without their source.
    assert_eq!((&read.version, &read.version.source), (&event.version, &event.version.source));
    assert_eq!(read.change, as_written(event.change.clone()));
}

/// A written event always says what becomes of the expiry.
fn as_written(mut change: Change) -> Change {
    if let Change::Put { expires_at: expires_at @ Expiry::Keep, .. } = &mut change {
        *expires_at = Expiry::Never;
    }
    change
}

fn written_ack_reads_back(ts: Timestamp, ack: &AckReceived) {
    let (ack_result, ack_reason, held) = match &ack.result {
        AckResult::Applied => ("applied", None, None),
        AckResult::Held(held) => ("applied", None, Some(held.clone())),
        AckResult::Error(reason) => {
            assert!(reason.chars().count() <= 301 && !reason.chars().any(char::is_control));
            ("error", Some(reason.as_str()), None::<Held>)
        }
    };
    let Ok(event_id) = EventId::new("the id of the answer itself") else { return };
    let written = AckEvent {
        event_id: &event_id,
        ts,
        propagation_secret: SECRET,
        sender_amqp_queue: &ack.sender,
        op: AckEvent::OP,
        ack_event_id: &ack.ack_event_id,
        ack_result,
        ack_reason,
        held,
        store: ack.store.clone(),
    };
    let Message::Ack(read) = understood(&written.to_body()) else {
        panic!("an answer came back as another message");
    };
    assert_eq!((&read.sender, &read.ack_event_id), (&ack.sender, &ack.ack_event_id));
    assert_eq!((read.result, read.store), (ack.result.clone(), ack.store.clone()));
}

/// Reads a body that this peer wrote.
fn understood(body: &[u8]) -> Message {
    let read = Envelope::decode(body, LIMIT).map_err(|error| error.to_string());
    let read = read.and_then(|envelope| {
        assert_eq!(envelope.propagation_secret.as_str(), SECRET);
        interpret(envelope, true).map_err(|error| error.to_string())
    });
    read.unwrap_or_else(|error| panic!("a written message was refused: {error}"))
}
