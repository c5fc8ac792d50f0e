//! Every metric that is exported: one list for descriptions, for the documents and for their check.

use metrics::Unit;

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

impl Metric {
    pub(super) fn unit(self) -> Unit {
        if self.name.ends_with("_seconds") { Unit::Seconds } else { Unit::Count }
    }
}

macro_rules! metrics_list {
    ($($constant:ident $kind:ident $name:literal $help:literal)*) => {
        $(pub(super) const $constant: &str = concat!("propagator_", $name);)*
        /// All of them.
        pub(super) const ALL: &[Metric] =
            &[$(Metric { name: $constant, kind: Kind::$kind, help: $help }),*];
    };
}

metrics_list! {
    BUILD Gauge "build_info" "Always 1; the version is a label."
    READY Gauge "ready" "1 when the peer can do its work: broker, Redis and database answer."
    STORE_UP Gauge "redis_up" "1 when Redis answers."
    DATABASE_UP Gauge "database_up" "1 when the database answers; not there on a receive-only peer."
    LINK_UP Gauge "broker_link_up" "1 while a direction of the broker connection works."
    CONNECTS Counter "broker_connects_total" "Connections to the broker that came up."
    RECONNECTS Counter "broker_reconnects_total" "Connections to the broker that came up again."
    DISCONNECTS Counter "broker_disconnects_total" "Connections to the broker that were lost or not made."
    DECISIONS Counter "decisions_total" "Decisions made by this process."
    LATENCY Histogram "propagation_latency_seconds" "From a decision to the target's proof that it holds it."
    PUBLISHED Counter "events_published_total" "Events that the broker confirmed."
    ACKS Counter "acks_total" "Answers of targets, by what they say."
    DELIVERY_FAILURES Counter "delivery_failures_total" "Deliveries that failed, by whether they are tried again."
    COMPLETED Counter "revisions_completed_total" "Revisions that no target is outstanding for."
    UNUSABLE Counter "unusable_rows_total" "Rows that cannot be propagated as they are, each time a sync meets them."
    OLDEST Gauge "oldest_unacked_event_seconds" "Age of the oldest decision that a target has not answered for; 0: none."
    ROWS Gauge "target_rows" "Rows of a target that are not confirmed: pending, in_flight, retrying or failed."
    QUEUE Gauge "queue_messages" "Messages that wait in a queue: this peer's own, and those of its targets."
    BACKLOG_AGE Gauge "backlog_age_seconds" "How old the figures by target are that come from the database."
    APPLIED Counter "events_applied_total" "Events of other peers that took effect here."
    UNCHANGED Counter "events_unchanged_total" "Events of other peers that changed nothing: what they bring, or newer, was here."
    REFUSED Counter "messages_refused_total" "Received messages that were refused."
    REFUSED_NOT_KEPT Counter "messages_refused_not_kept_total" "Refused messages of which no record was kept."
    STORE_LOSSES Counter "redis_losses_total" "Versions that had taken effect here and were gone: Redis lost data."
    UNDELIVERABLE Counter "answers_undeliverable_total" "Answers whose receiver has no queue."
    RETRIES Counter "retries_total" "What failed for now and is kept to be tried again."
    SYNC Histogram "sync_duration_seconds" "How long a sync took."
    SYNC_FAILURES Counter "sync_failures_total" "Syncs that ended with an error."
    REQUESTS_ACCEPTED Counter "requests_accepted_total" "Signed requests that were let through."
    REQUESTS_REFUSED Counter "requests_refused_total" "Signed requests that were refused."
    OLD_KEY Counter "old_key_uses_total" "Requests signed with the secret before the current one."
    ROTATE_REQUESTS Counter "rotate_requests_total" "Calls of POST /rotate."
    ROTATE_FAILURES Counter "rotate_failures_total" "Calls of POST /rotate that did not rotate."
    READERS Gauge "event_readers" "Readers of /events."
    READERS_DROPPED Counter "event_readers_dropped_total" "Readers of /events that were dropped because they did not read."
    READERS_REFUSED Counter "event_readers_refused_total" "Readers of /events that were turned away: too many."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for metric in ALL {
            let name = metric.name;
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert!(metric.kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn the_document_has_all_of_them_and_no_other() {
        let document = include_str!("../../../../../docs/monitoring.md");
        let rows = document.lines().filter(|line| line.starts_with("| `propagator_"));
        let cells = rows.filter_map(|row| row.split('|').nth(1));
        let mut described: Vec<&str> =
            cells.flat_map(|cell| cell.split('`').filter(|name| name.starts_with("pro"))).collect();
        let mut exported: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
        described.sort_unstable();
        exported.sort_unstable();
        assert_eq!(described, exported);
    }
}
