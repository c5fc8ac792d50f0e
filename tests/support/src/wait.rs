use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `check` returns `Some`, and returns what it holds.
///
/// This is for conditions that cannot be awaited, such as the depth of a queue in another process.
/// Time is tokio's, so a paused clock works too.
///
/// # Panics
///
/// When `check` has not returned `Some` within `deadline`; the message names the caller's line.
#[track_caller]
pub fn eventually<T, F, Fut>(deadline: Duration, check: F) -> impl Future<Output = T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let caller = Location::caller();
    async move {
        match poll(deadline, check).await {
            Some(value) => value,
            #[allow(clippy::panic, reason = "this is an assertion for tests")]
            None => panic!("{caller}: the condition did not hold within {deadline:?}"),
        }
    }
}

/// As [`eventually`], but `None` when the deadline has passed.
pub(crate) async fn poll<T, F, Fut>(deadline: Duration, mut check: F) -> Option<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let end = Instant::now() + deadline;
    loop {
        // A check that hangs must not outlive the deadline either.
        if let Some(value) = timeout_at(end, check()).await.ok()? {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_what_the_check_found() {
        let mut looked = 0;
        let found = eventually(Duration::from_secs(5), || {
            looked += 1;
            let now = looked;
            async move { (now == 3).then_some(now) }
        });
        assert_eq!(found.await, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "src/wait.rs")]
    async fn a_check_that_hangs_panics_at_the_deadline_and_names_the_caller() {
        eventually(Duration::from_millis(20), std::future::pending::<Option<()>>).await;
    }
}
