//! Several replicas of one full peer: one management side, one Redis, one queue.

use hmac_propagator::error::ErrorKind;
use hmac_propagator::event::Event;
use hmac_propagator::management::{MemoryManagement, Outcome, RowStatus};
use hmac_propagator::propagator::{Ensure, Rotate};
use hmac_propagator_support::eventually;

use crate::help::{RawTarget, Recorder};
use crate::mesh::{Full, Mesh, SOON, Store, client_id, directory_of, queue, secret};

struct Replicas {
    one: Full,
    two: Full,
    recorder: Recorder,
}

impl Replicas {
    async fn start(mesh: &Mesh, store: &Store, management: &MemoryManagement) -> Self {
        let recorder = Recorder::default();
        let start = || {
            mesh.full_with("authority", store, management.clone(), |builder| {
                builder.page_size(50).observer(recorder.clone())
            })
        };
        Self { one: start().await, two: start().await, recorder }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_that_sync_at_once_publish_each_event_once_and_all_rows_settle() {
    const CLIENTS: u32 = 200;
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let management = directory_of(&["b", "c"]);
    let Replicas { one, two, recorder } = Replicas::start(&mesh, &store, &management).await;
    for client in 0..CLIENTS {
        one.ensure(&format!("c{client}"), &["b", "c"]).await;
    }
    let (first, second) = tokio::join!(one.sync(), two.sync());
    assert_eq!(first.targets_published + second.targets_published, u64::from(2 * CLIENTS));
    let (overlapping, _) = tokio::join!(one.sync(), two.sync());
    assert_eq!(overlapping.targets_published, 0);
    // Nobody has consumed: what was published stands in the queues.
    mesh.filled("b", CLIENTS).await;
    mesh.filled("c", CLIENTS).await;
    let published = |event: &Event| matches!(event, Event::EventPublished { .. });
    assert_eq!(recorder.count(published), 2 * CLIENTS as usize);

    // The answers arrive at either replica.
    let (b, c) = (RawTarget::instant(&mesh, "b").await, RawTarget::instant(&mesh, "c").await);
    for client in 0..CLIENTS {
        assert_eq!(one.reports(&format!("c{client}")).await, Outcome::Success);
    }
    assert_eq!((b.seen().len(), c.seen().len()), (CLIENTS as usize, CLIENTS as usize));
    assert_eq!(recorder.refusals(), Vec::new());
    assert_eq!(two.sync().await.propagations_read, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_calls_of_one_peer_publish_each_event_once() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let authority = mesh.full("authority", &store, &["b"]).await;
    for client in 0..50 {
        authority.ensure(&format!("c{client}"), &["b"]).await;
    }
    let (a, b, c) = tokio::join!(authority.sync(), authority.sync(), authority.sync());
    let published = a.targets_published + b.targets_published + c.targets_published;
    assert_eq!(published, 50);
    mesh.filled("b", 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_about_one_credential_from_two_replicas_at_once_end_with_one_winner_everywhere() {
    let mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let management = directory_of(&["b"]);
    let Replicas { one, two, .. } = Replicas::start(&mesh, &at, &management).await;
    let _b = mesh.target("b", &b, "authority").await;
    one.ensure("orders", &["b"]).await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..20 {
        let replica = if number % 2 == 0 { one.peer.clone() } else { two.peer.clone() };
        let new = secret(&format!("secret {number}"));
        calls.spawn(async move {
            let revision = if number % 4 < 2 {
                let request = Ensure::new(client_id("orders"), new).targets([queue("b")]);
                replica.ensure(request).await.map(|ensured| ensured.revision)
            } else {
                let rotated = replica.rotate(Rotate::new(client_id("orders"), new)).await;
                rotated.map(|rotated| rotated.revision)
            };
            // Whoever is in the middle syncs as well.
            let _ = replica.sync().await;
            revision
        });
    }
    let mut revisions = Vec::new();
    while let Some(decided) = calls.join_next().await {
        match decided.unwrap() {
            Ok(revision) => revisions.push(revision),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Superseded),
        }
    }
    let winner = *revisions.iter().max().unwrap();
    revisions.sort();
    revisions.dedup();
    assert_eq!(revisions.len(), 20, "each decision has a revision of its own");
    eventually(SOON, || async {
        two.sync().await;
        let row = one.row("orders", "b");
        (row.revision == winner && row.status == RowStatus::Success).then_some(())
    })
    .await;
    let version = at.cursor_ts("orders").await;
    assert_eq!(version, Some(winner.get() as f64));
    assert_eq!(b.cursor_ts("orders").await, version);
    assert!(at.hash("orders").await.is_some());
    assert_eq!(at.hash("orders").await, b.hash("orders").await);
}
