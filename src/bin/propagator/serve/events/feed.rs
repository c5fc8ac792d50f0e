//! What happened lately, and those who read on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::mpsc;

use super::position::Position;
use super::telling::Told;

/// How much may be kept. All of it is memory of this process.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Events kept for readers that come back.
    kept: usize,
    /// Events that one reader may lag behind.
    behind: usize,
    /// Readers at a time.
    readers: usize,
}

const LIMITS: Limits = Limits { kept: 1024, behind: 256, readers: 128 };

/// How many readers there are, and what became of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readers {
    pub(crate) now: usize,
    /// Dropped because they did not read.
    pub(crate) dropped: u64,
    /// Turned away because there were too many.
    pub(crate) refused: u64,
}

/// Events to whoever reads. Clones share them.
#[derive(Clone)]
pub(crate) struct Feed(Arc<Shared>);

struct Shared {
    started_ms: u64,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of the newest event.
    newest: u64,
    kept: VecDeque<(u64, Bytes)>,
    readers: Vec<(u64, mpsc::Sender<Bytes>)>,
    next_reader: u64,
    dropped: u64,
    refused: u64,
}

/// One reader's queue. It leaves with the value.
pub(crate) struct Reader {
    feed: Feed,
    id: u64,
    /// What it missed, to be told first.
    missed: VecDeque<Bytes>,
    live: mpsc::Receiver<Bytes>,
}

impl Feed {
    /// A feed of a process that started at this time.
    pub(crate) fn new(started_ms: u64) -> Self {
        Self::with(started_ms, LIMITS)
    }

    fn with(started_ms: u64, limits: Limits) -> Self {
        Self(Arc::new(Shared { started_ms, limits, state: Mutex::default() }))
    }

    /// Tells everybody. Never waits: a reader whose queue is full is dropped.
    pub(crate) fn tell(&self, told: &Told) {
        let mut state = self.state();
        state.newest += 1;
        let number = state.newest;
        let frame = self.frame(number, told);
        if state.kept.len() == self.0.limits.kept {
            state.kept.pop_front();
        }
        state.kept.push_back((number, frame.clone()));
        let mut dropped = 0;
        state.readers.retain(|(_, reader)| match reader.try_send(frame.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                dropped += 1;
                false
            }
        });
        state.dropped += dropped;
    }

    /// A reader from now on, or from the event on that it saw last; `None`: there are too many.
    pub(crate) fn subscribe(&self, last_seen: Option<&str>) -> Option<Reader> {
        let mut state = self.state();
        if state.readers.len() >= self.0.limits.readers {
            state.refused += 1;
            return None;
        }
        let missed = match last_seen {
            None => VecDeque::from([self.mark(state.newest)]),
            Some(text) => self.since(&state, text.parse().ok()),
        };
        let (sender, live) = mpsc::channel(self.0.limits.behind);
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.push((id, sender));
        Some(Reader { feed: self.clone(), id, missed, live })
    }

    pub(crate) fn readers(&self) -> Readers {
        let state = self.state();
        Readers { now: state.readers.len(), dropped: state.dropped, refused: state.refused }
    }

    /// What came after an event; where that cannot be told for sure, a `gap` first.
    fn since(&self, state: &State, seen: Option<Position>) -> VecDeque<Bytes> {
        let oldest = state.kept.front().map_or(state.newest + 1, |(number, _)| *number);
        let (after, gap) = match seen {
            None => (0, Some("unknown")),
            Some(seen) if seen.started_ms != self.0.started_ms => (0, Some("restarted")),
            Some(seen) if seen.number > state.newest => (0, Some("unknown")),
            Some(seen) if seen.number + 1 < oldest => (0, Some("too_old")),
            Some(seen) => (seen.number, None),
        };
        let mut frames = VecDeque::from([Bytes::from_static(b"retry: 2000\n\n")]);
        if let Some(reason) = gap {
            let told = Told { name: "gap", data: json!({"reason": reason}) };
            frames.push_back(self.frame(oldest - 1, &told));
        }
        let later = state.kept.iter().filter(|(number, _)| *number > after);
        frames.extend(later.map(|(_, frame)| frame.clone()));
        frames
    }

    fn frame(&self, number: u64, told: &Told) -> Bytes {
        let id = Position { started_ms: self.0.started_ms, number };
        // JSON has no line break outside its texts, and there they are escaped.
        format!("id: {id}\nevent: {}\ndata: {}\n\n", told.name, told.data).into()
    }

    /// Says where a reader stands before anything happens, so that it can come back to there.
    fn mark(&self, number: u64) -> Bytes {
        let id = Position { started_ms: self.0.started_ms, number };
        format!("retry: 2000\nid: {id}\n\n").into()
    }

    /// Nothing that is done under the lock can leave it half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// The next frame; `None` when this reader was dropped.
    ///
    /// Safe to drop: no frame is lost.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        match self.missed.pop_front() {
            Some(frame) => Some(frame),
            None => self.live.recv().await,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.feed.state().readers.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn told(number: u64) -> Told {
        Told { name: "row_changed", data: json!({"n": number}) }
    }

    fn feed(kept: usize, behind: usize, readers: usize) -> Feed {
        Feed::with(1000, Limits { kept, behind, readers })
    }

    /// All frames that can be read now.
    fn now(reader: &mut Reader) -> Vec<String> {
        let frames = std::iter::from_fn(|| reader.next().now_or_never().flatten());
        frames.map(|frame| String::from_utf8(frame.to_vec()).unwrap()).collect()
    }

    fn ids(frames: &[String]) -> Vec<String> {
        let lines = frames.iter().flat_map(|frame| frame.lines());
        lines.filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned).collect()
    }

    #[test]
    fn a_reader_is_told_where_it_stands_and_then_what_happens() {
        let feed = feed(9, 9, 9);
        feed.tell(&told(1));
        let mut reader = feed.subscribe(None).unwrap();
        feed.tell(&told(2));
        let frames = now(&mut reader);
        assert_eq!(frames[0], "retry: 2000\nid: 1000-1\n\n");
        assert_eq!(frames[1], "id: 1000-2\nevent: row_changed\ndata: {\"n\":2}\n\n");
    }

    #[test]
    fn a_reader_that_comes_back_gets_what_it_missed_and_nothing_twice() {
        let feed = feed(9, 9, 9);
        (1..=5).for_each(|number| feed.tell(&told(number)));
        let mut reader = feed.subscribe(Some("1000-3")).unwrap();
        feed.tell(&told(6));
        let frames = now(&mut reader);
        assert_eq!(ids(&frames), ["1000-4", "1000-5", "1000-6"]);
        assert!(frames.iter().all(|frame| !frame.contains("event: gap")));
        let mut current = feed.subscribe(Some("1000-6")).unwrap();
        assert!(ids(&now(&mut current)).is_empty());
    }

    #[test]
    fn what_cannot_be_replayed_is_said_to_be_missing() {
        let feed = feed(3, 9, 9);
        (1..=5).for_each(|number| feed.tell(&told(number)));
        for (seen, reason) in [
            ("1000-1", "too_old"),
            ("900-5", "restarted"),
            ("1000-9", "unknown"),
            ("nonsense", "unknown"),
        ] {
            let mut reader = feed.subscribe(Some(seen)).unwrap();
            let frames = now(&mut reader);
            assert_eq!(ids(&frames), ["1000-2", "1000-3", "1000-4", "1000-5"], "{seen}");
            assert!(frames[1].contains("event: gap\n") && frames[1].contains(reason), "{seen}");
        }
        let mut just_kept = feed.subscribe(Some("1000-2")).unwrap();
        assert_eq!(ids(&now(&mut just_kept)), ["1000-3", "1000-4", "1000-5"]);
    }

    #[test]
    fn a_reader_that_does_not_read_is_dropped_and_counted_and_others_read_on() {
        let feed = feed(99, 4, 9);
        let mut asleep = feed.subscribe(None).unwrap();
        let mut awake = feed.subscribe(None).unwrap();
        let mut read = 0;
        for number in 1..=6 {
            feed.tell(&told(number));
            read += now(&mut awake).len();
        }
        assert_eq!(read, 7);
        assert_eq!(feed.readers(), Readers { now: 1, dropped: 1, refused: 0 });
        // What was queued for it is all that it gets, and then its end.
        assert_eq!(now(&mut asleep).len(), 5);
        assert_eq!(asleep.next().now_or_never(), Some(None));
    }

    #[test]
    fn there_is_a_place_again_when_a_reader_has_left() {
        let feed = feed(9, 9, 2);
        let (one, _two) = (feed.subscribe(None).unwrap(), feed.subscribe(None).unwrap());
        assert!(feed.subscribe(None).is_none());
        drop(one);
        let _three = feed.subscribe(None).unwrap();
        assert_eq!(feed.readers(), Readers { now: 2, dropped: 0, refused: 1 });
    }
}
