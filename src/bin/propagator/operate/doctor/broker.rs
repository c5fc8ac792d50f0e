//! The broker: reachable, its virtual host, permissions, and this peer's own queue.

use hmac_propagator::id::PeerQueue;
use hmac_propagator::inspect::{self, BrokerFault, BrokerStage, BrokerView, QueueState};

use super::finding::Finding;
use super::stores::chain;
use crate::config::Config;

const PERMISSIONS: &str = "give the user the permissions that docs/operations.md lists";

/// What was seen, when it could be looked at.
pub(super) async fn look(
    config: &Config,
    queues: &[PeerQueue],
    findings: &mut Vec<Finding>,
) -> Option<BrokerView> {
    let view = match inspect::broker(&config.broker, &config.queue, queues).await {
        Ok(Ok(view)) => view,
        Ok(Err(fault)) => {
            findings.push(refused(config, &fault));
            return None;
        }
        Err(error) => {
            findings.push(Finding::wrong("broker", chain(error), "correct the configuration"));
            return None;
        }
    };
    findings.push(Finding::fine("broker", "reachable, user and virtual host accepted"));
    findings.push(permission("publish", &view.publishing, config));
    if let Some(reading) = &view.reading {
        findings.push(permission("consume", reading, config));
    }
    findings.push(own_queue(config, &view.own));
    Some(view)
}

fn refused(config: &Config, fault: &BrokerFault) -> Finding {
    let broker = &config.broker;
    let (check, advice) = match fault.stage {
        BrokerStage::Login => ("broker-login", "check AMQP_USER and AMQP_PASSWORD".to_owned()),
        BrokerStage::VirtualHost => (
            "broker-vhost",
            format!(
                "check AMQP_VHOST; where it is missing: rabbitmqctl add_vhost {}; {PERMISSIONS}",
                broker.vhost
            ),
        ),
        _ => (
            "broker",
            "check AMQP_HOST, AMQP_PORT, AMQP_PROTOCOL and AMQP_CA_FILE, that the broker runs, and that it takes connections from here".to_owned(),
        ),
    };
    Finding::wrong(check, &fault.reason, advice)
}

fn permission(what: &'static str, outcome: &Result<(), String>, config: &Config) -> Finding {
    match outcome {
        Ok(()) => Finding::fine("broker-permission", format!("may {what}")).of(what),
        Err(reason) => {
            let advice = format!(
                "{PERMISSIONS}; rabbitmqctl list_permissions -p {} shows them. A broker that is short \
                 of memory or disk takes nothing either: rabbitmqctl status",
                config.broker.vhost
            );
            Finding::wrong("broker-permission", reason, advice).of(what)
        }
    }
}

fn own_queue(config: &Config, state: &QueueState) -> Finding {
    let check = "own-queue";
    let run = "start `propagator serve`, or let cron call `propagator sync --wait`: answers and events of others come here";
    let finding = match state {
        QueueState::There { ready, consumers: 0 } => {
            Finding::wrong(check, format!("nobody consumes it; messages waiting: {ready}"), run)
        }
        QueueState::There { ready, consumers } => {
            Finding::fine(check, format!("consumers: {consumers}, messages waiting: {ready}"))
        }
        QueueState::Missing => Finding::wrong(check, "it is not there", run),
        QueueState::Refused(reason) => Finding::wrong(
            check,
            reason,
            "another process uses it exclusively, or it has other properties: delete it and start the peer",
        ),
        _ => Finding::wrong(check, "it does not answer", "check the node that the queue is on"),
    };
    finding.of(&config.queue)
}
