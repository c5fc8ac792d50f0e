//! The edge of one process. All that a process does to the world passes here, so this is where it
//! can die or be stopped for a while.
//!
//! What a process keeps in memory dies with it, so that the places where a crash makes a difference
//! are the ones before and after each effect on the outside: between two of them every `await` is
//! as good as any other. A dead process's calls never return, and none has an effect any more, but for
//! one that was on its way already: that may still arrive, however late.

use std::fmt;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::world::World;

pub(super) struct Fence {
    pub(super) world: Arc<World>,
    pub(super) name: String,
    /// Whether a request that is on its way survives its sender.
    late_effects: bool,
    dead: AtomicBool,
    died: Notify,
    passed: AtomicU64,
    crash_at: AtomicU64,
    paused_until: Mutex<Option<Instant>>,
}

impl Fence {
    pub(super) fn new(world: Arc<World>, name: String, late_effects: bool) -> Self {
        Self {
            world,
            name,
            late_effects,
            dead: AtomicBool::new(false),
            died: Notify::new(),
            passed: AtomicU64::new(0),
            crash_at: AtomicU64::new(u64::MAX),
            paused_until: Mutex::new(None),
        }
    }

    /// Kills the process after so many more passages.
    pub(super) fn crash_after(&self, passages: u64) {
        self.crash_at.store(self.passed.load(Ordering::Relaxed) + passages, Ordering::Relaxed);
    }

    pub(super) fn never_crash(&self) {
        self.crash_at.store(u64::MAX, Ordering::Relaxed);
    }

    /// Stops the process until then, as `SIGSTOP` does; its requests go on arriving.
    pub(super) fn pause_until(&self, until: Instant) {
        *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    pub(super) fn kill(&self) {
        if !self.dead.swap(true, Ordering::Relaxed) {
            self.world.note(format_args!("{} dies", self.name));
            self.died.notify_waiters();
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Returns when the process has died.
    pub(super) async fn died(&self) {
        let died = self.died.notified();
        if !self.is_dead() {
            died.await;
        }
    }

    /// A point at which the process may die; returns only while it lives.
    pub(super) async fn pass(&self) {
        let passage = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        if passage >= self.crash_at.load(Ordering::Relaxed) {
            self.kill();
        }
        self.alive().await;
    }

    /// Returns while the process lives and runs.
    async fn alive(&self) {
        loop {
            if self.is_dead() || self.world.is_exhausted() {
                pending::<()>().await;
            }
            let until = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
            match until {
                Some(until) if Instant::now() < until => tokio::time::sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// A call to the outside: the way there, the effect, the way back, and where each may fail.
    /// `None`: the caller gets no answer but a failure, and the effect happened or not.
    pub(super) async fn call<T>(
        &self,
        failures_of_1000: u64,
        effect: impl FnOnce() -> T,
    ) -> Option<T> {
        self.pass().await;
        let world = &self.world;
        let fails_before = world.chance(failures_of_1000);
        let fails_after = world.chance(failures_of_1000);
        world.lag().await;
        if self.is_dead() && !(self.late_effects && world.chance(500)) {
            pending::<()>().await;
        }
        if fails_before {
            self.pass().await;
            return None;
        }
        let done = effect();
        self.pass().await;
        world.lag().await;
        self.alive().await;
        (!fails_after).then_some(done)
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").field("name", &self.name).finish_non_exhaustive()
    }
}
