//! The records of clients that were let through, in bounded memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::judge::Known;
use crate::id::ClientId;

/// Two generations: when the young one is full it becomes the old one, and what nobody asked for
/// since then goes. Only clients that exist come in, so a flood of made-up ids displaces nobody.
pub(super) struct Cache {
    generations: Mutex<Generations>,
    per_generation: usize,
}

#[derive(Default)]
struct Generations {
    young: HashMap<ClientId, Arc<Known>>,
    old: HashMap<ClientId, Arc<Known>>,
}

impl Cache {
    pub(super) fn new(clients: usize) -> Self {
        Self { generations: Mutex::default(), per_generation: clients.div_ceil(2) }
    }

    pub(super) fn get(&self, client_id: &ClientId) -> Option<Arc<Known>> {
        let mut generations = self.lock();
        if let Some(known) = generations.young.get(client_id) {
            return Some(known.clone());
        }
        let (client_id, known) = generations.old.remove_entry(client_id)?;
        self.insert(&mut generations, client_id, known.clone());
        Some(known)
    }

    /// Costs nothing when it is kept already, which is the rule.
    pub(super) fn put(&self, client_id: &ClientId, known: Arc<Known>) {
        let mut generations = self.lock();
        if generations.young.get(client_id).is_some_and(|kept| Arc::ptr_eq(kept, &known)) {
            return;
        }
        generations.old.remove(client_id);
        self.insert(&mut generations, client_id.clone(), known);
    }

    pub(super) fn remove(&self, client_id: &ClientId) {
        let mut generations = self.lock();
        generations.young.remove(client_id);
        generations.old.remove(client_id);
    }

    fn insert(&self, generations: &mut Generations, client_id: ClientId, known: Arc<Known>) {
        if self.per_generation == 0 {
            return;
        }
        let fits = generations.young.len() < self.per_generation;
        if !fits && !generations.young.contains_key(&client_id) {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(client_id, known);
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Held;
    use super::*;

    fn id(number: usize) -> ClientId {
        ClientId::new(format!("client-{number}")).unwrap()
    }

    fn known() -> Arc<Known> {
        Arc::new(Known::new(Held::from_stored("ab".repeat(32), None).unwrap()))
    }

    #[test]
    fn memory_is_bounded_and_who_comes_again_stays() {
        let cache = Cache::new(10);
        for number in 0..100 {
            cache.put(&id(number), known());
            assert!(cache.get(&id(0)).is_some(), "{number}");
            let generations = cache.lock();
            assert!(generations.young.len() + generations.old.len() <= 10);
        }
        assert!(cache.get(&id(50)).is_none());
        cache.remove(&id(0));
        assert!(cache.get(&id(0)).is_none());
    }

    #[test]
    fn a_cache_for_nobody_keeps_nothing() {
        let cache = Cache::new(0);
        cache.put(&id(1), known());
        assert!(cache.get(&id(1)).is_none());
    }
}
