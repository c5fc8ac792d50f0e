use std::sync::Mutex;

use async_trait::async_trait;
use tokio::time::Instant;

use super::*;
use crate::error::StoreError;
use crate::event::{EventStream, Refusal};
use crate::state::{Committed, FieldPage, Key, MemoryState, StateStore, Transaction};

/// A store that hangs or fails when it is told so, and notes when it was written to.
#[derive(Clone, Debug, Default)]
struct Faulty {
    inner: MemoryState,
    fault: Arc<Mutex<Option<Fault>>>,
    written: Arc<Mutex<Vec<Instant>>>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Hangs,
    Fails,
}

#[async_trait]
impl StateStore for Faulty {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<String>>, StoreError> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::Fails) => Err(StoreError::transient("away")),
            None => self.inner.get(keys).await,
        }
    }

    async fn commit(&self, transactions: &[Transaction]) -> Result<Vec<Committed>, StoreError> {
        self.written.lock().unwrap().push(Instant::now());
        self.inner.commit(transactions).await
    }

    async fn fields(&self, hash: &str, after: Option<String>) -> Result<FieldPage, StoreError> {
        self.inner.fields(hash, after).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }
}

struct Kept {
    store: Faulty,
    refusals: Refusals,
    events: EventStream,
    task: tokio::task::JoinHandle<()>,
}

impl Kept {
    fn start() -> Self {
        let (store, hub) = (Faulty::default(), EventHub::new(16, None));
        let events = hub.subscribe();
        let (refusals, keeper) = Refusals::new(RefusedMessages::new(store.clone()), hub);
        let task = tokio::spawn(keeper.run(CancellationToken::new()));
        Self { store, refusals, events, task }
    }

    fn keep(&self, at_ms: u64) -> Written {
        let refused = Refused {
            at_ms,
            reason: Refusal::Malformed,
            detail: "",
            sender: None,
            body: b"",
            limit: 10,
        };
        self.refusals.keep(&refused, Guard::new([]))
    }

    async fn count(&self) -> usize {
        self.refusals.messages.newest(usize::MAX).await.unwrap().len()
    }

    async fn lost(&mut self) -> u64 {
        match self.events.next().await {
            Some(Event::RefusedNotKept { count }) => count,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_is_there_before_its_message_is_let_go_of() {
    let kept = Kept::start();
    for n in 1..=3 {
        kept.keep(0).for_a_moment().await;
        assert_eq!(kept.count().await, n);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_written_now_and_then_and_the_rest_is_counted() {
    let mut kept = Kept::start();
    let begun = Instant::now();
    for _ in 0..10 {
        for at_ms in 0..100 {
            drop(kept.keep(at_ms));
        }
        sleep(PAUSE / 2).await;
    }
    kept.refusals.finish();
    (&mut kept.task).await.unwrap();
    let writes = kept.store.written.lock().unwrap().clone();
    assert!(writes.len() <= 7, "{writes:?}");
    assert!(begun.elapsed() < PAUSE * 6);
    let written = kept.refusals.messages.newest(1).await.unwrap()[0].number;
    assert!(written <= 7 * QUEUE as u64, "{written}");
    let mut lost = 0;
    while lost + written < 1000 {
        lost += kept.lost().await;
    }
    assert_eq!(lost + written, 1000);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_holds_a_message_up_for_a_moment_only() {
    let mut kept = Kept::start();
    *kept.store.fault.lock().unwrap() = Some(Fault::Hangs);
    let begun = Instant::now();
    kept.keep(0).for_a_moment().await;
    assert_eq!(begun.elapsed(), MOMENT);
    assert_eq!(kept.lost().await, 1);
    assert!(begun.elapsed() <= DEADLINE + MOMENT);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_loses_records_and_those_that_come_later_are_kept() {
    let mut kept = Kept::start();
    *kept.store.fault.lock().unwrap() = Some(Fault::Fails);
    let begun = Instant::now();
    kept.keep(0).for_a_moment().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(kept.lost().await, 1);
    *kept.store.fault.lock().unwrap() = None;
    kept.keep(1).for_a_moment().await;
    assert_eq!(kept.count().await, 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_written_before_the_end() {
    let kept = Kept::start();
    let waiting: Vec<Written> = (0..20).map(|at_ms| kept.keep(at_ms)).collect();
    kept.refusals.finish();
    let Kept { store, task, .. } = kept;
    task.await.unwrap();
    drop(waiting);
    assert_eq!(RefusedMessages::new(store).newest(100).await.unwrap().len(), 20);
}
