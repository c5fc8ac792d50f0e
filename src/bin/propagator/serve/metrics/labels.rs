//! Label values that come from outside, bounded: each costs memory here and in every database that
//! scrapes.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// The label of what came after the limit was reached.
pub(super) const OTHER: &str = "other";

/// The first so many different values keep their names; all others share one.
pub(super) struct Labels {
    most: usize,
    seen: Mutex<HashSet<String>>,
}

impl Labels {
    pub(super) fn new(most: usize) -> Self {
        Self { most, seen: Mutex::default() }
    }

    /// What a value is called.
    pub(super) fn name(&self, value: &str) -> String {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(value) {
            return value.to_owned();
        }
        if seen.len() >= self.most {
            return OTHER.to_owned();
        }
        seen.insert(value.to_owned());
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_values_keep_their_names() {
        let labels = Labels::new(2);
        let named = ["a", "b", "a", "c", "b", "d"].map(|value| labels.name(value));
        assert_eq!(named, ["a", "b", "a", OTHER, "b", OTHER]);
    }
}
