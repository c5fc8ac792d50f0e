//! What readers are told about what happens. No secret and no hash is in any event of the library,
//! so none can be in what is told.

use hmac_propagator::event::Event;
use hmac_propagator::id::{CredentialKey, PeerQueue, Revision};
use hmac_propagator::management::Outcome;
use serde_json::{Value, json};

/// Longest reason that is passed on, in characters.
const REASON: usize = 300;

/// One event as it is told: its name, and its data.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(super) name: &'static str,
    pub(super) data: Value,
}

impl Told {
    fn new(name: &'static str, data: Value) -> Self {
        Self { name, data }
    }

    /// Something about a row has changed that no other event tells: look again.
    fn row_changed(change: &'static str, mut data: Value) -> Self {
        data["change"] = change.into();
        Self::new("row_changed", data)
    }

    /// An operator opened a failed row again.
    pub(crate) fn retried(key: &CredentialKey, target: &PeerQueue) -> Self {
        let mut data = about(key);
        data["target"] = target.as_str().into();
        Self::row_changed("retried", data)
    }

    /// An operator wants a target asked again for all that it has confirmed.
    pub(crate) fn resend_wanted(target: &PeerQueue) -> Self {
        Self::row_changed("resend_wanted", json!({"target": target.as_str()}))
    }

    /// A peer came into the directory, was changed, or left it.
    pub(crate) fn directory_changed(target: &PeerQueue) -> Self {
        Self::new("directory_changed", json!({"target": target.as_str()}))
    }

    /// What is told of an event of the library; `None`: nothing. `docs/monitoring.md` has it as a
    /// table.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::Decided { key, revision, removed } => {
                key_or_row(*removed, "key_generated", "revoked", revised(key, *revision))
            }
            Event::EventPublished { key, target, revision, event_id, attempts, removed } => {
                let mut data = on_target(key, *revision, target);
                data["eventId"] = event_id.as_str().into();
                data["attempts"] = (*attempts).into();
                key_or_row(*removed, "key_propagated", "sent", data)
            }
            Event::AckReceived { key, target, revision, error, removed, .. } => {
                let mut data = on_target(key, *revision, target);
                match error {
                    None => key_or_row(*removed, "key_verified", "success", data),
                    Some(reason) => {
                        data["reason"] = shortened(reason).into();
                        Self::new("rotation_failed", data)
                    }
                }
            }
            Event::FullyPropagated { key, revision, outcome, removed } => {
                let mut data = revised(key, *revision);
                data["outcome"] = outcome.as_str().into();
                match outcome {
                    Outcome::Success => key_or_row(*removed, "key_activated", "removed", data),
                    _ => Self::new("rotation_failed", data),
                }
            }
            Event::DeliveryFailed { key, target, revision, reason, will_retry } => {
                let mut data = on_target(key, *revision, target);
                data["reason"] = shortened(reason).into();
                if *will_retry {
                    Self::row_changed("retrying", data)
                } else {
                    Self::new("rotation_failed", data)
                }
            }
            Event::RowUnusable { client, target, reason } => {
                let reason = shortened(reason);
                let data = json!({"clientId": client, "target": target, "reason": reason});
                Self::row_changed("unusable", data)
            }
            Event::TargetStoreReplaced { target, track } => {
                let data = json!({"target": target.as_str(), "track": track.as_str()});
                Self::row_changed("store_replaced", data)
            }
            Event::RowsReopened { target, track, rows } => {
                let (target, track) = (target.as_str(), track.as_str());
                let data = json!({"target": target, "track": track, "rows": rows});
                Self::row_changed("reopened", data)
            }
            Event::CredentialApplied { key, source, removed } => {
                let mut data = about(key);
                data["source"] = source.as_str().into();
                data["removed"] = (*removed).into();
                Self::row_changed("applied", data)
            }
            _ => return None,
        })
    }
}

/// The names of the keys' life are for keys: the same step of a removal is a changed row.
fn key_or_row(removed: bool, name: &'static str, change: &'static str, data: Value) -> Told {
    if removed { Told::row_changed(change, data) } else { Told::new(name, data) }
}

fn about(key: &CredentialKey) -> Value {
    json!({"clientId": key.client_id.as_str(), "track": key.track.as_str()})
}

fn revised(key: &CredentialKey, revision: Revision) -> Value {
    let mut data = about(key);
    data["revision"] = revision.get().into();
    data
}

fn on_target(key: &CredentialKey, revision: Revision, target: &PeerQueue) -> Value {
    let mut data = revised(key, revision);
    data["target"] = target.as_str().into();
    data
}

/// Reasons come from other peers too.
fn shortened(reason: &str) -> String {
    reason.chars().take(REASON).collect()
}

#[cfg(test)]
mod tests {
    use hmac_propagator::event::{Link, Refusal};
    use hmac_propagator::id::{ClientId, EventId, Track};

    use super::*;

    fn key() -> CredentialKey {
        CredentialKey::new(Track::Http, ClientId::new("shop").unwrap())
    }

    fn queue() -> PeerQueue {
        PeerQueue::new("b").unwrap()
    }

    fn revision() -> Revision {
        Revision::new(7).unwrap()
    }

    fn published(removed: bool) -> Event {
        Event::EventPublished {
            key: key(),
            target: queue(),
            revision: revision(),
            event_id: EventId::new("e").unwrap(),
            attempts: 2,
            removed,
        }
    }

    fn answered(error: Option<&str>, removed: bool) -> Event {
        let error = error.map(str::to_owned);
        Event::AckReceived {
            key: key(),
            target: queue(),
            revision: revision(),
            error,
            removed,
            again: false,
        }
    }

    fn complete(outcome: Outcome, removed: bool) -> Event {
        Event::FullyPropagated { key: key(), revision: revision(), outcome, removed }
    }

    fn failed(will_retry: bool) -> Event {
        let reason = "no queue".to_owned();
        Event::DeliveryFailed {
            key: key(),
            target: queue(),
            revision: revision(),
            reason,
            will_retry,
        }
    }

    fn name(event: &Event) -> String {
        let told = Told::of(event).unwrap();
        match told.data["change"].as_str() {
            Some(change) => format!("{} {change}", told.name),
            None => told.name.to_owned(),
        }
    }

    #[test]
    fn the_steps_of_a_new_key_have_its_names() {
        let decided = Event::Decided { key: key(), revision: revision(), removed: false };
        assert_eq!(name(&decided), "key_generated");
        assert_eq!(name(&published(false)), "key_propagated");
        assert_eq!(name(&answered(None, false)), "key_verified");
        assert_eq!(name(&complete(Outcome::Success, false)), "key_activated");
    }

    #[test]
    fn no_step_of_a_removal_is_told_as_a_key() {
        let decided = Event::Decided { key: key(), revision: revision(), removed: true };
        assert_eq!(name(&decided), "row_changed revoked");
        assert_eq!(name(&published(true)), "row_changed sent");
        assert_eq!(name(&answered(None, true)), "row_changed success");
        assert_eq!(name(&complete(Outcome::Success, true)), "row_changed removed");
    }

    #[test]
    fn what_failed_for_good_is_a_failed_rotation_and_what_is_tried_again_is_not() {
        assert_eq!(name(&answered(Some("no store"), false)), "rotation_failed");
        assert_eq!(name(&complete(Outcome::Partial, false)), "rotation_failed");
        assert_eq!(name(&complete(Outcome::Error, true)), "rotation_failed");
        assert_eq!(name(&failed(false)), "rotation_failed");
        assert_eq!(name(&failed(true)), "row_changed retrying");
    }

    #[test]
    fn data_names_the_credential_the_target_and_the_revision() {
        let told = Told::of(&published(false)).unwrap();
        let expected = json!({"clientId": "shop", "track": "http", "revision": 7, "target": "b",
            "eventId": "e", "attempts": 2});
        assert_eq!(told.data, expected);
        let long = answered(Some(&"x".repeat(10_000)), false);
        let told = Told::of(&long).unwrap();
        assert_eq!(told.data["reason"].as_str().unwrap().len(), REASON);
    }

    #[test]
    fn what_concerns_no_row_is_not_told() {
        let detail = String::new();
        let refused = Event::Refused { reason: Refusal::Malformed, detail, sender: None };
        assert_eq!(Told::of(&refused), None);
        assert_eq!(Told::of(&Event::Connected { link: Link::Consumer, again: true }), None);
        let outdated = Event::AckOutdated { key: key(), target: queue(), revision: revision() };
        assert_eq!(Told::of(&outdated), None);
    }
}
