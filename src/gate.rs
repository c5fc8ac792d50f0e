//! Keeps "sent" from being recorded after "success".
//!
//! A target may answer before the publisher has even recorded that the event went out. Both then
//! race to the management side. Each published event therefore passes this gate: if its answer
//! comes first, "sent" is skipped; if "sent" is being recorded, the answer waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::id::EventId;

/// The events that this process is publishing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    phases: Arc<Mutex<HashMap<EventId, Phase>>>,
}

#[derive(Debug)]
enum Phase {
    Publishing,
    Answered,
    /// Cancelled when that is done.
    Recording(CancellationToken),
}

/// An event's way through the gate. It has passed when this is dropped.
#[derive(Debug)]
pub(crate) struct Passage {
    gate: Gate,
    event_id: EventId,
    recording: Option<DropGuard>,
}

impl Gate {
    /// An event is about to be published.
    pub(crate) fn enter(&self, event_id: EventId) -> Passage {
        self.lock().insert(event_id.clone(), Phase::Publishing);
        Passage { gate: self.clone(), event_id, recording: None }
    }

    /// An event was answered: returns when the answer may be recorded.
    pub(crate) async fn answered(&self, event_id: &EventId) {
        let recording = match self.lock().get_mut(event_id) {
            None | Some(Phase::Answered) => return,
            Some(phase @ Phase::Publishing) => {
                *phase = Phase::Answered;
                return;
            }
            Some(Phase::Recording(recording)) => recording.clone(),
        };
        recording.cancelled().await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EventId, Phase>> {
        self.phases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passage {
    /// The event was confirmed: whether "sent" is to be recorded now. From here on an answer waits
    /// until this passage is dropped.
    pub(crate) fn begin_recording(&mut self) -> bool {
        let mut phases = self.gate.lock();
        match phases.get_mut(&self.event_id) {
            Some(phase @ Phase::Publishing) => {
                let done = CancellationToken::new();
                *phase = Phase::Recording(done.clone());
                self.recording = Some(done.drop_guard());
                true
            }
            _ => false,
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.gate.lock().remove(&self.event_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn event() -> EventId {
        EventId::new("e").unwrap()
    }

    #[test]
    fn sent_is_skipped_once_the_answer_is_known() {
        let gate = Gate::default();
        let mut passage = gate.enter(event());
        assert!(gate.answered(&event()).now_or_never().is_some());
        assert!(!passage.begin_recording());
    }

    #[test]
    fn an_answer_waits_while_sent_is_being_recorded() {
        let gate = Gate::default();
        let mut passage = gate.enter(event());
        assert!(passage.begin_recording());
        let event = event();
        let mut answer = Box::pin(gate.answered(&event).fuse());
        assert!(answer.as_mut().now_or_never().is_none());
        drop(passage);
        assert!(answer.now_or_never().is_some());
    }

    #[test]
    fn events_of_other_processes_pass() {
        assert!(Gate::default().answered(&event()).now_or_never().is_some());
    }
}
