//! What happens, counted.

use std::time::Duration;

use hmac_propagator::auth::RefusalCode;
use hmac_propagator::event::{Event, Link, Refusal};
use hmac_propagator::id::Revision;
use hmac_propagator::management::Outcome;
use hmac_propagator::verify::{KeyUsed, VerifierEvent};
use metrics::{counter, gauge, histogram};

use super::labels::Labels;
use super::names;
use crate::serve::clock::now_ms;

/// Different targets, and different sources, that keep their names.
const PEERS: usize = 500;
/// Different clients that keep their names. Only of clients that proved who they are.
const CLIENTS: usize = 100;

const REFUSALS: [Refusal; 7] = [
    Refusal::Malformed,
    Refusal::WrongSecret,
    Refusal::Unsigned,
    Refusal::Invalid,
    Refusal::UnknownAck,
    Refusal::ForeignAck,
    Refusal::Store,
];

/// Names that are labels.
pub(super) struct Counting {
    pub(super) targets: Labels,
    sources: Labels,
    clients: Labels,
}

impl Counting {
    pub(super) fn new() -> Self {
        Self {
            targets: Labels::new(PEERS),
            sources: Labels::new(PEERS),
            clients: Labels::new(CLIENTS),
        }
    }

    /// Counters whose labels are known start at 0: an increase from "not there" to 1 is none for
    /// Prometheus.
    pub(super) fn start_at_zero() {
        for link in ["publisher", "consumer"] {
            for name in [names::CONNECTS, names::RECONNECTS, names::DISCONNECTS] {
                counter!(name, "link" => link).increment(0);
            }
        }
        for reason in REFUSALS {
            counter!(names::REFUSED, "reason" => reason.as_str()).increment(0);
        }
        for code in RefusalCode::ALL {
            counter!(names::REQUESTS_REFUSED, "code" => code.as_str()).increment(0);
        }
        for outcome in [Outcome::Success, Outcome::Partial, Outcome::Error] {
            counter!(names::COMPLETED, "outcome" => outcome.as_str()).increment(0);
        }
        for status in ["400", "404", "409", "429", "503"] {
            counter!(names::ROTATE_FAILURES, "status" => status).increment(0);
        }
        for operation in ["put", "remove"] {
            counter!(names::DECISIONS, "operation" => operation).increment(0);
        }
        for name in [
            names::UNUSABLE,
            names::REFUSED_NOT_KEPT,
            names::STORE_LOSSES,
            names::UNDELIVERABLE,
            names::SYNC_FAILURES,
            names::REQUESTS_ACCEPTED,
            names::ROTATE_REQUESTS,
            names::READERS_DROPPED,
            names::READERS_REFUSED,
        ] {
            counter!(name).increment(0);
        }
    }

    pub(super) fn event(&self, event: &Event) {
        match event {
            Event::Decided { removed, .. } => {
                counter!(names::DECISIONS, "operation" => operation(*removed)).increment(1);
            }
            Event::EventPublished { target, .. } => {
                let target = self.targets.name(target.as_str());
                counter!(names::PUBLISHED, "target" => target).increment(1);
            }
            Event::AckReceived { target, revision, error, again, .. } => {
                let target = self.targets.name(target.as_str());
                let result = if error.is_none() { "applied" } else { "error" };
                // How long ago an old decision was made says nothing about how long it took.
                if error.is_none() && !again {
                    let taken = since(*revision, now_ms());
                    histogram!(names::LATENCY, "target" => target.clone()).record(taken);
                }
                counter!(names::ACKS, "target" => target, "result" => result).increment(1);
            }
            Event::AckOutdated { target, .. } => {
                let target = self.targets.name(target.as_str());
                counter!(names::ACKS, "target" => target, "result" => "outdated").increment(1);
            }
            Event::DeliveryFailed { target, will_retry, .. } => {
                let target = self.targets.name(target.as_str());
                let retry = if *will_retry { "yes" } else { "no" };
                counter!(names::DELIVERY_FAILURES, "target" => target, "retry" => retry)
                    .increment(1);
            }
            Event::FullyPropagated { outcome, .. } => {
                counter!(names::COMPLETED, "outcome" => outcome.as_str()).increment(1);
            }
            Event::RowUnusable { .. } => counter!(names::UNUSABLE).increment(1),
            Event::SyncEnded { duration, error } => sync_ended(*duration, error.is_some()),
            other => self.event_of_a_target(other),
        }
    }

    /// What happens at a peer that others decide for, and to its connections.
    fn event_of_a_target(&self, event: &Event) {
        match event {
            Event::CredentialApplied { source, removed, .. } => {
                let source = self.sources.name(source.as_str());
                let operation = operation(*removed);
                counter!(names::APPLIED, "source" => source, "operation" => operation).increment(1);
            }
            Event::CredentialUnchanged { source, .. } => {
                let source = self.sources.name(source.as_str());
                counter!(names::UNCHANGED, "source" => source).increment(1);
            }
            Event::Refused { reason, .. } => {
                counter!(names::REFUSED, "reason" => reason.as_str()).increment(1);
            }
            Event::RefusedNotKept { count } => counter!(names::REFUSED_NOT_KEPT).increment(*count),
            Event::StoreLost { .. } => counter!(names::STORE_LOSSES).increment(1),
            Event::AnswerUndeliverable { .. } => counter!(names::UNDELIVERABLE).increment(1),
            Event::Retrying { what, .. } => counter!(names::RETRIES, "what" => *what).increment(1),
            Event::Connected { link, again } => {
                let link = name_of(*link);
                counter!(names::CONNECTS, "link" => link).increment(1);
                counter!(names::RECONNECTS, "link" => link).increment(u64::from(*again));
            }
            Event::Disconnected { link, .. } => {
                counter!(names::DISCONNECTS, "link" => name_of(*link)).increment(1);
            }
            _ => {}
        }
    }

    pub(super) fn request(&self, event: &VerifierEvent) {
        match event {
            VerifierEvent::Accepted(verified) => {
                counter!(names::REQUESTS_ACCEPTED).increment(1);
                if verified.key == KeyUsed::Previous {
                    let client = self.clients.name(verified.client_id.as_str());
                    counter!(names::OLD_KEY, "client" => client).increment(1);
                }
            }
            VerifierEvent::Refused { code, .. } => {
                counter!(names::REQUESTS_REFUSED, "code" => code.as_str()).increment(1);
            }
            _ => {}
        }
    }
}

fn sync_ended(duration: Duration, failed: bool) {
    histogram!(names::SYNC).record(duration.as_secs_f64());
    counter!(names::SYNC_FAILURES).increment(u64::from(failed));
}

/// Whether a direction of the broker connection works.
pub(super) fn link_up(link: Link, up: bool) {
    gauge!(names::LINK_UP, "link" => name_of(link)).set(f64::from(u8::from(up)));
}

fn operation(removed: bool) -> &'static str {
    if removed { "remove" } else { "put" }
}

fn name_of(link: Link) -> &'static str {
    match link {
        Link::Publisher => "publisher",
        Link::Consumer => "consumer",
        _ => "other",
    }
}

/// How long ago a revision was decided, in seconds. It reads as the time of its decision, whoever
/// made it and however often this process was started since; only where a clock stepped back it runs
/// ahead of the time, and then this is 0.
pub(super) fn since(revision: Revision, now_ms: u64) -> f64 {
    Duration::from_millis(now_ms.saturating_sub(revision.get())).as_secs_f64()
}
