//! Redis and the database: there, writable, and of one mind about the time.

use std::error::Error;
use std::time::Duration;

use hmac_propagator::management::sql::{SqlManagement, TargetInfo};
use hmac_propagator::state::{Committed, Key, RedisState, StateStore, Transaction, Write};

use super::super::operator::now_ms;
use super::finding::Finding;
use crate::fault::Fault;

/// More than two clocks may differ before something is said. Signatures bear 300 s, events 5 min.
const SKEW_MS: u64 = 5_000;

pub(super) async fn redis(redis: &RedisState, findings: &mut Vec<Finding>) {
    let before = now_ms();
    match redis.time_ms().await {
        Ok(theirs) => {
            findings.push(Finding::fine("redis", "reachable"));
            findings.push(clock("Redis", theirs, before, now_ms()));
        }
        Err(error) => {
            let advice =
                "check REDIS_URL, that Redis runs, and that it takes connections from here";
            findings.push(Finding::wrong("redis", chain(error), advice));
            return;
        }
    }
    let key = Key::value(format!("propagation:doctor:{}-{before}", std::process::id()));
    let write = Transaction::default().write(Write::set_for(key, "1", Duration::from_secs(1)));
    let refused = match redis.commit(&[write]).await {
        Ok(committed) => committed.into_iter().find_map(|one| match one {
            Committed::Refused(why) => Some(why),
            _ => None,
        }),
        Err(error) => Some(chain(error)),
    };
    findings.push(match refused {
        None => Finding::fine("redis-write", "it can be written to"),
        Some(why) => {
            let advice = "free memory, end the replication that makes it read-only, or give the user the right to write and to run scripts";
            Finding::wrong("redis-write", why, advice)
        }
    });
}

/// The directory, when it can be read.
pub(super) async fn database(
    management: &SqlManagement,
    findings: &mut Vec<Finding>,
) -> Vec<TargetInfo> {
    let before = now_ms();
    match management.time_ms().await {
        Ok(theirs) => {
            findings.push(Finding::fine("database", "reachable"));
            findings.push(clock("database", theirs, before, now_ms()));
        }
        Err(error) => findings.push(Finding::wrong("database", chain(error), "check the server")),
    }
    management.targets().await.unwrap_or_else(|error| {
        findings.push(Finding::wrong("directory", chain(error), "check the database's tables"));
        Vec::new()
    })
}

/// Compares with the own clock in the middle of the question.
fn clock(of: &str, theirs: u64, before: u64, after: u64) -> Finding {
    let own = before + after.saturating_sub(before) / 2;
    let skew = theirs.abs_diff(own);
    if skew <= SKEW_MS {
        return Finding::fine("clock", format!("{skew} ms apart")).of(of);
    }
    let way = if theirs > own { "ahead of" } else { "behind" };
    let what = format!("{:.1} s {way} this machine", Duration::from_millis(skew).as_secs_f64());
    Finding::wrong("clock", what, "let NTP set the clocks of both machines").of(of)
}

/// An error with its causes.
pub(super) fn chain(error: impl Error + Send + Sync + 'static) -> String {
    let source = error.source().map(|_| ()).is_some();
    if source { Fault::because("failed", error).explained() } else { error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn clocks_may_differ_a_little_in_either_direction() {
        assert_eq!(clock("Redis", 10_000, 9_000, 11_000).state, State::Fine);
        let ahead = clock("Redis", 20_000, 9_000, 11_000);
        assert_eq!(
            (ahead.state, ahead.what.as_str()),
            (State::Wrong, "10.0 s ahead of this machine")
        );
        let behind = clock("Redis", 0, 9_000, 11_000);
        assert_eq!(
            (behind.state, behind.what.as_str()),
            (State::Wrong, "10.0 s behind this machine")
        );
    }
}
