//! Waiting for what another process does.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(20);

/// Whether the condition came to hold within the time.
pub async fn within<F, Fut>(time: Duration, mut holds: F) -> bool
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let end = Instant::now() + time;
    loop {
        // A look that hangs must not take longer either.
        match timeout_at(end, holds()).await {
            Ok(true) => return true,
            Ok(false) if Instant::now() < end => sleep(INTERVAL).await,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_ends_when_the_condition_holds_and_at_the_latest_after_the_time() {
        let mut looks = 0;
        let third = within(Duration::from_secs(20), || {
            looks += 1;
            std::future::ready(looks == 3)
        });
        assert!(third.await);
        assert!(!within(Duration::from_millis(1), || std::future::ready(false)).await);
        assert!(!within(Duration::from_millis(1), std::future::pending::<bool>).await);
    }
}
