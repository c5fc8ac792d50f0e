//! The main job, undisturbed.

use hmac_propagator::event::{Event, EventStream};
use hmac_propagator::management::{Outcome, Proof, RowStatus};
use hmac_propagator::propagator::{Ensure, EnsureOp, Revoke, Rotate};

use crate::mesh::{Mesh, Store, client_id, complete, queue, secret, seen};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_is_created_rotated_and_revoked_everywhere() {
    let mesh = Mesh::new().await;
    let (at, b, c) = (Store::start().await, Store::start().await, Store::start().await);
    let authority = mesh.full("authority", &at, &["b", "c"]).await;
    let _b = mesh.target("b", &b, "authority").await;
    let _c = mesh.target("c", &c, "authority").await;
    let mut events = authority.peer.events();

    let request =
        Ensure::new(client_id("orders"), secret("first")).targets([queue("b"), queue("c")]);
    let ensured = authority.peer.ensure(request).await.unwrap();
    assert_eq!(ensured.op, EnsureOp::Create);
    let first = at.hash("orders").await.unwrap();
    assert_eq!(b.hash("orders").await, None);

    let summary = authority.peer.sync().await.unwrap();
    assert_eq!((summary.propagations_read, summary.targets_published), (2, 2));
    assert_eq!(complete(&mut events, "orders").await, Outcome::Success);
    assert_eq!(b.hash("orders").await, Some(first.clone()));
    assert_eq!(c.hash("orders").await, Some(first.clone()));
    let row = authority.row("orders", "b");
    assert_eq!((row.status, row.proof), (RowStatus::Success, Some(Proof::Signed)));

    authority.peer.rotate(Rotate::new(client_id("orders"), secret("second"))).await.unwrap();
    let second = at.hash("orders").await.unwrap();
    assert_ne!(first, second);
    authority.peer.sync().await.unwrap();
    assert_eq!(complete(&mut events, "orders").await, Outcome::Success);
    assert_eq!(b.hash("orders").await, Some(second.clone()));
    assert_eq!(c.hash("orders").await, Some(second));

    authority.peer.revoke(Revoke::new(client_id("orders"))).await.unwrap();
    assert_eq!(at.hash("orders").await, None);
    authority.peer.sync().await.unwrap();
    assert_eq!(complete(&mut events, "orders").await, Outcome::Success);
    assert_eq!(b.hash("orders").await, None);
    assert_eq!(c.hash("orders").await, None);
    assert_eq!(authority.peer.sync().await.unwrap().propagations_read, 0);
    authority.peer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_say_what_is_a_removal_and_how_long_a_sync_took() {
    let mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let authority = mesh.full("authority", &at, &["b"]).await;
    let _b = mesh.target("b", &b, "authority").await;
    let mut events = authority.peer.events();

    let request = Ensure::new(client_id("orders"), secret("first")).targets([queue("b")]);
    authority.peer.ensure(request).await.unwrap();
    authority.peer.sync().await.unwrap();
    assert_eq!(removals(&mut events).await, [false; 3]);
    authority.peer.revoke(Revoke::new(client_id("orders"))).await.unwrap();
    authority.peer.sync().await.unwrap();
    assert_eq!(removals(&mut events).await, [true; 3]);

    authority.peer.sync().await.unwrap();
    seen(&mut events, |event| match event {
        Event::SyncEnded { duration, error: None } => (!duration.is_zero()).then_some(()),
        _ => None,
    })
    .await;
    authority.peer.close().await;
}

/// What the publishing, the answer and the report of the next revision say of it.
async fn removals(events: &mut EventStream) -> Vec<bool> {
    let mut found = Vec::new();
    while found.len() < 3 {
        found.push(
            seen(events, |event| match event {
                Event::EventPublished { removed, .. }
                | Event::AckReceived { removed, .. }
                | Event::FullyPropagated { removed, .. } => Some(*removed),
                _ => None,
            })
            .await,
        );
    }
    found
}
