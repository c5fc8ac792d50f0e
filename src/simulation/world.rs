//! What all parts of a run share: chance, time, the trace, and the model that watches.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::broker::Broker;
use super::model::Model;
use super::plan::Rates;
use super::random::Random;
use super::trace::Trace;

/// Virtual time begins here, in milliseconds since the epoch.
pub(super) const EPOCH_MS: u64 = 1_800_000_000_000;

/// Far more than any run takes that is not in a loop.
const MOST_STEPS: u64 = 200_000;

/// Most violations that a run keeps: the first is what counts.
const MOST_VIOLATIONS: usize = 8;

pub(super) struct World {
    random: Mutex<Random>,
    trace: Mutex<Trace>,
    rates: Mutex<Rates>,
    model: Mutex<Model>,
    violations: Mutex<Vec<String>>,
    pub(super) broker: Broker,
    /// How many messages were sent to the broker.
    pub(super) published: AtomicU64,
    quiet: bool,
    started: Instant,
    most_steps: u64,
    exhausted: AtomicBool,
}

impl World {
    /// Must be made inside the runtime whose clock it goes by.
    pub(super) fn new(random: Random, keep_trace: bool, quiet: bool) -> Self {
        Self {
            random: Mutex::new(random),
            trace: Mutex::new(Trace::new(keep_trace)),
            rates: Mutex::new(Rates::default()),
            model: Mutex::default(),
            violations: Mutex::default(),
            broker: Broker::default(),
            published: AtomicU64::new(0),
            quiet,
            started: Instant::now(),
            most_steps: MOST_STEPS,
            exhausted: AtomicBool::new(false),
        }
    }

    /// With room for so many steps instead.
    pub(super) fn lasting(self, most_steps: u64) -> Self {
        Self { most_steps, ..self }
    }

    pub(super) fn random(&self) -> MutexGuard<'_, Random> {
        locked(&self.random)
    }

    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        locked(&self.model)
    }

    /// Whether nothing goes wrong in the whole run.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// How much goes wrong at the moment.
    pub(super) fn rates(&self) -> Rates {
        *locked(&self.rates)
    }

    pub(super) fn set_rates(&self, rates: Rates) {
        *locked(&self.rates) = rates;
    }

    pub(super) fn chance(&self, of_1000: u64) -> bool {
        of_1000 > 0 && self.random().chance(of_1000)
    }

    /// Milliseconds of virtual time since the run began.
    pub(super) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn note(&self, what: fmt::Arguments<'_>) {
        let length = {
            let mut trace = locked(&self.trace);
            trace.note(self.elapsed_ms(), what);
            trace.length()
        };
        if length > self.most_steps && !self.exhausted.swap(true, Ordering::Relaxed) {
            self.violate(format_args!("it goes on without an end"));
        }
    }

    /// Too much has happened: nothing more shall.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }

    pub(super) fn trace(&self) -> MutexGuard<'_, Trace> {
        locked(&self.trace)
    }

    /// Something is not as it must be.
    pub(super) fn violate(&self, what: fmt::Arguments<'_>) {
        self.note(format_args!("VIOLATION {what}"));
        let mut violations = locked(&self.violations);
        if violations.len() < MOST_VIOLATIONS {
            violations.push(what.to_string());
        }
    }

    pub(super) fn violations(&self) -> Vec<String> {
        locked(&self.violations).clone()
    }

    pub(super) fn is_violated(&self) -> bool {
        !locked(&self.violations).is_empty()
    }

    /// A way through the network: often no time at all, sometimes a while, rarely very long.
    pub(super) async fn lag(&self) {
        let rates = self.rates();
        let ms = {
            let mut random = self.random();
            if random.chance(rates.very_slow) {
                random.between(1_000, 20_000)
            } else if random.chance(rates.slow) {
                random.between(20, 600)
            } else if random.chance(500) {
                random.between(1, 8)
            } else {
                0
            }
        };
        if ms > 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}
