//! Which queues did not confirm lately.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::types::ShortString;
use tokio::time::Instant;

/// How long a queue counts as slow after it kept others waiting.
const REMEMBERED: Duration = Duration::from_secs(30);

/// Most queues that are remembered. One that finds no place counts as any other.
const MOST: usize = 1024;

/// The queues that did not confirm in time. Their messages take a lane of their own.
#[derive(Debug, Default)]
pub(super) struct SlowQueues {
    until: Mutex<HashMap<ShortString, Instant>>,
}

impl SlowQueues {
    /// Remembers queues from now on.
    pub(super) fn mark<'a>(&self, queues: impl Iterator<Item = &'a ShortString>, now: Instant) {
        let mut until = self.lock();
        for queue in queues {
            if until.len() >= MOST {
                until.retain(|_, until| *until > now);
            }
            if until.len() < MOST || until.contains_key(queue) {
                until.insert(queue.clone(), now + REMEMBERED);
            }
        }
    }

    /// Forgets queues that confirmed in time again.
    pub(super) fn clear<'a>(&self, queues: impl Iterator<Item = &'a ShortString>) {
        let mut until = self.lock();
        for queue in queues {
            until.remove(queue);
        }
    }

    /// Whether a queue counts as slow.
    pub(super) fn contains(&self, queue: &ShortString, now: Instant) -> bool {
        let mut until = self.lock();
        match until.get(queue) {
            Some(end) if *end > now => true,
            Some(_) => {
                until.remove(queue);
                false
            }
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ShortString, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(number: usize) -> ShortString {
        number.to_string().into()
    }

    #[test]
    fn a_slow_queue_is_forgotten_after_a_while_and_marked_anew_for_as_long() {
        let slow = SlowQueues::default();
        let start = Instant::now();
        let second = start + REMEMBERED / 2;
        slow.mark([queue(1), queue(2)].iter(), start);
        slow.mark([queue(2)].iter(), second);
        assert!(slow.contains(&queue(1), second));
        assert!(!slow.contains(&queue(1), start + REMEMBERED));
        assert!(slow.contains(&queue(2), start + REMEMBERED));
        assert!(!slow.contains(&queue(2), second + REMEMBERED));
        assert!(!slow.contains(&queue(3), start));
    }

    #[test]
    fn a_queue_that_confirms_again_is_no_longer_slow() {
        let slow = SlowQueues::default();
        let now = Instant::now();
        slow.mark([queue(1), queue(2)].iter(), now);
        slow.clear([queue(1)].iter());
        assert!(!slow.contains(&queue(1), now));
        assert!(slow.contains(&queue(2), now));
    }

    #[test]
    fn no_more_than_a_bounded_number_is_remembered_and_the_forgotten_make_room() {
        let slow = SlowQueues::default();
        let start = Instant::now();
        let queues: Vec<_> = (0..=MOST).map(queue).collect();
        slow.mark(queues.iter(), start);
        assert!(slow.contains(&queues[0], start));
        assert!(!slow.contains(&queues[MOST], start));
        assert_eq!(slow.lock().len(), MOST);
        let later = start + REMEMBERED;
        slow.mark([queue(MOST)].iter(), later);
        assert!(slow.contains(&queue(MOST), later));
        assert_eq!(slow.lock().len(), 1);
    }
}
