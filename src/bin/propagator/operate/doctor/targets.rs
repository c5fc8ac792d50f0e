//! The peers of the directory: their secrets, and their queues.

use hmac_propagator::id::PeerQueue;
use hmac_propagator::inspect::{BrokerView, QueueState};
use hmac_propagator::management::Management;
use hmac_propagator::management::sql::{SqlManagement, TargetInfo};

use super::finding::Finding;
use super::stores::chain;

/// Whether the secret of a target is there and can be read.
pub(super) async fn secret(
    management: &SqlManagement,
    target: &PeerQueue,
    findings: &mut Vec<Finding>,
) {
    let check = "target-secret";
    let set = format!("propagator targets change {target} --secret-file FILE");
    let finding = match management.fetch_source_propagation_secret(target).await {
        Ok(Some(_)) => Finding::fine(check, "present"),
        Ok(None) => Finding::wrong(check, "it is not in the directory any more", set),
        Err(error) => {
            let advice = format!(
                "check DATABASE_KEY or DATABASE_PASSPHRASE and DATABASE_KEY_ID, or set it anew: {set}"
            );
            Finding::wrong(check, chain(error), advice)
        }
    };
    findings.push(finding.of(target));
}

/// Whether the queue of a target is there and consumed.
pub(super) fn queue(target: &TargetInfo, view: &BrokerView, findings: &mut Vec<Finding>) {
    let check = "target-queue";
    let name = &target.queue;
    let start = format!("start {name}, and see that it uses this broker and virtual host");
    // Nothing waits for one that has no credentials.
    let matters = target.credentials > 0;
    let finding = match state_of(view, name) {
        QueueState::There { ready, consumers: 0 } if matters || *ready > 0 => {
            Finding::wrong(check, format!("nobody consumes it; messages waiting: {ready}"), start)
        }
        QueueState::There { ready, consumers } => {
            Finding::fine(check, format!("consumers: {consumers}, messages waiting: {ready}"))
        }
        QueueState::Missing if matters => Finding::wrong(check, "it is not there", start),
        QueueState::Missing => Finding::fine(check, "it is not there, and nothing is to go there"),
        QueueState::Refused(reason) => {
            Finding::wrong(check, reason, "see that no other client holds the queue")
        }
        _ => Finding::wrong(check, "it does not answer", "check the node that the queue is on"),
    };
    findings.push(finding.of(name));
}

/// The state of a queue that was asked for.
pub(super) fn state_of<'a>(view: &'a BrokerView, target: &PeerQueue) -> &'a QueueState {
    let found = view.queues.iter().find(|(name, _)| name == target);
    found.map_or(&QueueState::Missing, |(_, state)| state)
}
