//! Messages as this peer writes them.

use serde::Serialize;

use crate::cursor::Timestamp;
use crate::id::{ClientId, EventId, PeerQueue, Track};
use crate::store::StoreId;

/// An apply event, ready to be written. Secrets are borrowed: they are copied into the body only.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApplyEvent<'a> {
    pub(crate) event_id: &'a EventId,
    pub(crate) ts: Timestamp,
    pub(crate) propagation_secret: &'a str,
    pub(crate) sender_amqp_queue: &'a PeerQueue,
    pub(crate) op: &'a str,
    pub(crate) track: Track,
    pub(crate) client_id: &'a ClientId,
    pub(crate) payload: Payload<'a>,
}

/// What to apply.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Payload<'a> {
    /// Empty for a delete.
    pub(crate) secret_hash: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allowed_ips: Option<&'a [String]>,
    /// Always written: `null` clears an older expiry.
    pub(crate) expires_at: Option<u64>,
}

/// An ack event, ready to be written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AckEvent<'a> {
    pub(crate) event_id: &'a EventId,
    pub(crate) ts: Timestamp,
    pub(crate) propagation_secret: &'a str,
    pub(crate) sender_amqp_queue: &'a PeerQueue,
    pub(crate) op: &'a str,
    pub(crate) ack_event_id: &'a EventId,
    pub(crate) ack_result: &'a str,
    pub(crate) ack_reason: Option<&'a str>,
    /// Ours alone; older peers skip it. Present when nothing was applied because something newer is
    /// held, so that the source is not told a success that is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<Held>,
    /// Ours alone; older peers skip it. The store that the target had when it applied the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<StoreNamed>,
}

/// The store of one track at a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoreNamed {
    pub(crate) track: Track,
    pub(crate) id: StoreId,
}

/// The version that a target holds instead of the one it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Held {
    pub(crate) ts: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sender_amqp_queue: Option<PeerQueue>,
}

impl ApplyEvent<'_> {
    pub(crate) fn to_body(&self) -> Vec<u8> {
        to_body(self)
    }
}

impl AckEvent<'_> {
    pub(crate) const OP: &'static str = "credential.ack";

    pub(crate) fn to_body(&self) -> Vec<u8> {
        to_body(self)
    }
}

fn to_body(event: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and options only: serialising into memory has no way to fail.
    serde_json::to_vec(event).unwrap_or_default()
}
