use super::*;
use crate::event::Refusal;
use crate::refused::{Guard, Refused};
use crate::state::MemoryState;

fn record(at_ms: u64) -> Record {
    let refused = Refused {
        at_ms,
        reason: Refusal::Malformed,
        detail: "",
        sender: None,
        body: b"",
        limit: 10,
    };
    Record::of(&refused, Guard::new([]))
}

fn records(times: std::ops::Range<u64>) -> Vec<Record> {
    times.map(record).collect()
}

async fn times(ring: &RefusedMessages, limit: usize) -> Vec<u64> {
    ring.newest(limit).await.unwrap().iter().map(|record| record.at_ms).collect()
}

#[tokio::test]
async fn the_newest_hundred_stay_newest_first() {
    let ring = RefusedMessages::new(MemoryState::new());
    assert!(ring.newest(10).await.unwrap().is_empty());
    ring.add(&records(0..70)).await.unwrap();
    ring.add(&records(70..140)).await.unwrap();
    assert_eq!(times(&ring, usize::MAX).await, (40..140).rev().collect::<Vec<_>>());
    assert_eq!(times(&ring, 2).await, [139, 138]);
    assert_eq!(ring.newest(1).await.unwrap()[0].number, 140);
    assert!(times(&ring, 0).await.is_empty());
}

#[tokio::test]
async fn replicas_share_the_ring_and_overwrite_nothing_of_each_other() {
    let state = MemoryState::new();
    let replicas = [(); 4].map(|()| RefusedMessages::new(state.clone()));
    let adding = replicas.iter().zip(0..).map(|(ring, replica)| async move {
        for at in 0..10 {
            ring.add(&[record(replica * 10 + at)]).await.unwrap();
        }
    });
    futures_util::future::join_all(adding).await;
    let mut found = times(&replicas[0], 100).await;
    found.sort_unstable();
    assert_eq!(found, (0..40).collect::<Vec<_>>());
    let other = RefusedMessages::new(state).state_prefix("other");
    assert!(other.newest(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lost_counter_and_damaged_records_hide_no_others() {
    let state = MemoryState::new();
    let ring = RefusedMessages::new(state.clone());
    ring.add(&records(0..5)).await.unwrap();
    let lost = crate::state::Transaction::default()
        .write(Write::remove(ring.counter()))
        .write(Write::set(ring.slot(2), "damaged"));
    state.commit(&[lost]).await.unwrap();
    ring.add(&[record(9)]).await.unwrap();
    assert_eq!(times(&ring, 10).await, [9, 4, 3, 2]);
}
