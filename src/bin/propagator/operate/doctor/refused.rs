//! Messages that this peer refused lately: what somebody sends in vain.

use std::collections::BTreeMap;

use hmac_propagator::event::Refusal;
use hmac_propagator::refused::{RefusedMessage, RefusedMessages};
use hmac_propagator::state::RedisState;

use super::super::operator::now_ms;
use super::finding::Finding;

/// How long a refusal is worth a line.
const LATELY_MS: u64 = 60 * 60 * 1000;

/// Says nothing when there were none. A Redis that cannot be read has a line of its own already.
pub(super) async fn look(redis: &RedisState, findings: &mut Vec<Finding>) {
    let kept = RefusedMessages::new(redis.clone()).newest(RefusedMessages::KEPT).await;
    findings.extend(kept.ok().and_then(|kept| judge(&kept, now_ms())));
}

fn judge(kept: &[RefusedMessage], now_ms: u64) -> Option<Finding> {
    let lately = kept.iter().filter(|refused| now_ms.saturating_sub(refused.at_ms) < LATELY_MS);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    // An answer that nobody knows any more comes of a lost Redis, and needs nothing.
    let mut harmless = true;
    for refused in lately {
        *counts.entry(refused.reason.as_str()).or_default() += 1;
        harmless &= refused.reason == Refusal::UnknownAck;
    }
    if counts.is_empty() {
        return None;
    }
    let words: Vec<String> =
        counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let what = format!("in the last hour: {}", words.join(", "));
    if harmless {
        return Some(Finding::fine("refused", what));
    }
    let advice = "`propagator refused` shows the messages; what each reason means is in the operations guide";
    Some(Finding::wrong("refused", what, advice))
}
