//! Keeps every event of a peer, so that a test can say what did not happen.

use std::sync::{Arc, Mutex};

use hmac_propagator::event::{Event, Observer, Refusal};

/// Every event so far. Clones share them.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Recorder {
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    pub fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|event| wanted(event)).count()
    }

    pub fn refusals(&self) -> Vec<Refusal> {
        let refusal = |event: &Event| match event {
            Event::Refused { reason, .. } => Some(*reason),
            _ => None,
        };
        self.events().iter().filter_map(refusal).collect()
    }

    /// How often something was kept to be tried again.
    pub fn retries(&self) -> usize {
        self.count(|event| matches!(event, Event::Retrying { .. }))
    }
}

impl Observer for Recorder {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}
