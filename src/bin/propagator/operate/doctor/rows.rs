//! Rows that are not where they should be: why, and what to do.

use hmac_propagator::id::{ClientId, CredentialKey, PeerQueue};
use hmac_propagator::inspect::{BrokerView, QueueState};
use hmac_propagator::management::RowStatus;
use hmac_propagator::management::sql::{CredentialInfo, OperatorError, SqlManagement, TargetState};

use super::super::operator::now_ms;
use super::super::show::is_open;
use super::super::table::from_now;
use super::finding::Finding;
use super::stores::chain;
use super::targets::state_of;

/// A row that was sent, or decided about, this little ago is under way.
const UNDER_WAY_MS: u64 = 5_000;

const PAGE: u32 = 500;

/// Finds rows that some target does not hold, at most `limit`.
pub(super) async fn look(
    management: &SqlManagement,
    client: Option<&ClientId>,
    limit: usize,
    view: Option<&BrokerView>,
    findings: &mut Vec<Finding>,
) {
    let before = findings.len();
    let mut after: Option<CredentialKey> = None;
    loop {
        let page = match management.credentials(after.as_ref(), PAGE).await {
            Ok(page) => page,
            Err(error) => return findings.push(unreadable(error)),
        };
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        for info in page.iter().filter(|info| client.is_none_or(|id| *id == info.key.client_id)) {
            for target in info.targets.iter().filter(|target| target.status != RowStatus::Success) {
                if findings.len() - before == limit {
                    let what = format!("there are more rows than {limit}: see --limit");
                    return findings.push(Finding::skipped("rows", what));
                }
                findings.push(row(info, target, view));
            }
        }
    }
    if findings.len() == before {
        findings.push(Finding::fine("rows", "every target holds what it should"));
    }
}

fn unreadable(error: OperatorError) -> Finding {
    Finding::wrong("rows", chain(error), "check the database")
}

fn row(info: &CredentialInfo, target: &TargetState, view: Option<&BrokerView>) -> Finding {
    let now = now_ms();
    let finding = match target.status {
        RowStatus::Error => failed(info, target, now),
        _ => waiting(info, target, view, now),
    };
    finding.of(format_args!("{} at {}", info.key, target.target))
}

fn failed(info: &CredentialInfo, target: &TargetState, now: u64) -> Finding {
    let reason = target.last_error.as_deref().unwrap_or("without a reason");
    if is_open(target) {
        let what = format!(
            "{reason}; tried {} times, next {}",
            target.attempts,
            from_now(target.retry_at_ms, now)
        );
        return Finding::wrong(
            "row",
            what,
            "mend what the reason says; it is tried again by itself",
        );
    }
    let again = format!(
        "mend what the reason says, then: propagator targets retry --track {} {} {}",
        info.key.track, info.key.client_id, target.target
    );
    Finding::wrong("row", format!("failed for good: {reason}"), again)
}

fn waiting(
    info: &CredentialInfo,
    target: &TargetState,
    view: Option<&BrokerView>,
    now: u64,
) -> Finding {
    let since = target.sent_at_ms.unwrap_or(info.updated_at_ms);
    let age = from_now(Some(since), now);
    let sent = target.status == RowStatus::Sent;
    let (what, advice) = match view {
        None => {
            (format!("{}, {age}", word(sent)), "mend the connection to the broker first".into())
        }
        Some(_) if !sent => unsent(target, &age),
        Some(view) => unanswered(&target.target, view, &age),
    };
    // Only where nothing else is known to be wrong is the time of any help.
    let idle = view.is_some_and(|view| healthy(view, &target.target));
    if idle && now.saturating_sub(since) < UNDER_WAY_MS {
        return Finding::fine("row", format!("under way: {}, {age}", word(sent)));
    }
    Finding::wrong("row", what, advice)
}

fn word(sent: bool) -> &'static str {
    if sent { "sent" } else { "decided" }
}

fn healthy(view: &BrokerView, target: &PeerQueue) -> bool {
    let consumed = |state: &QueueState| matches!(state, QueueState::There { consumers: 1.., .. });
    consumed(&view.own) && consumed(state_of(view, target))
}

fn unsent(target: &TargetState, age: &str) -> (String, String) {
    let reason =
        target.last_error.as_ref().map_or_else(String::new, |why| format!("; last: {why}"));
    let advice = "run `propagator sync`, from cron too, or `propagator serve` with a SYNC_INTERVAL";
    (format!("decided {age}, and not sent{reason}"), advice.into())
}

fn unanswered(target: &PeerQueue, view: &BrokerView, age: &str) -> (String, String) {
    match (state_of(view, target), &view.own) {
        (QueueState::Missing, _) => (
            format!("sent {age}, and the queue is gone since"),
            format!("start {target}; the event is sent again when its answer is overdue"),
        ),
        (QueueState::There { consumers: 0, ready }, _) => (
            format!("sent {age}; nobody consumes the queue; messages waiting: {ready}"),
            format!("start {target}"),
        ),
        (QueueState::There { ready: 1.., .. }, _) => (
            format!("sent {age}; messages wait in the queue although it is consumed"),
            format!("see whether {target} can use its Redis, and its log"),
        ),
        (_, QueueState::There { consumers: 0, ready: 1.. }) => (
            format!("sent {age}; the answer may wait in this peer's own queue"),
            "start `propagator serve`, or run `propagator sync --wait`".into(),
        ),
        _ => (
            format!("sent {age}; {target} took it and has not answered"),
            format!(
                "compare secrets: {target} drops what does not carry its own PROPAGATION_SECRET \
                 (propagator targets change {target} --secret-file FILE), and answers with the one \
                 that its directory has for this peer; the logs of both say what they refused"
            ),
        ),
    }
}
