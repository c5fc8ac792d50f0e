//! The record of an event exists before its publish, and a row's status never goes backwards.

use std::collections::HashSet;
use std::sync::Arc;

use hmac_propagator::event::Refusal;
use hmac_propagator::management::{ManagementError, Outcome, Proof, RowStatus};
use hmac_propagator_support::eventually;
use tokio::sync::Semaphore;

use crate::help::{Between, Call, RawTarget, Recorder, Script, StepClock, ack};
use crate::mesh::{Mesh, SOON, Store, complete, directory_of};

/// Fails when a row was recorded as sent after it was recorded as success.
fn assert_sent_never_follows_success(log: &[Call]) {
    let mut successful = HashSet::new();
    for call in log {
        match call {
            Call::Success(rows) => successful.extend(rows.iter().cloned()),
            Call::Sent(rows) => {
                for row in rows {
                    assert!(!successful.contains(row), "sent after success: {row:?}");
                }
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_that_comes_the_instant_its_event_arrives_is_known() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let (recorder, memory) = (Recorder::default(), directory_of(&["b", "c"]));
    let management = Between::new(&memory, Script::default());
    let authority = mesh
        .full_with("authority", &store, memory, |builder| {
            builder.observer(recorder.clone()).management(management.clone())
        })
        .await;
    let _b = RawTarget::instant(&mesh, "b").await;
    let _c = RawTarget::instant(&mesh, "c").await;
    let clients: Vec<String> = (0..200).map(|number| format!("client-{number}")).collect();
    for client in &clients {
        authority.ensure(client, &["b", "c"]).await;
    }
    assert_eq!(authority.sync().await.targets_published, 400);
    for client in &clients {
        assert_eq!(authority.reports(client).await, Outcome::Success);
    }
    assert_eq!(recorder.refusals(), Vec::<Refusal>::new());
    assert_sent_never_follows_success(&management.log());
    assert_eq!(authority.sync().await.propagations_read, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_single_rotations_all_settle() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let memory = directory_of(&["b"]);
    let management = Between::new(&memory, Script::default());
    let authority =
        mesh.full_with("authority", &store, memory, |b| b.management(management.clone())).await;
    let _b = RawTarget::instant(&mesh, "b").await;
    let mut events = authority.peer.events();
    authority.ensure("orders", &["b"]).await;
    for number in 0..200 {
        authority.rotate("orders", &format!("secret {number}")).await;
        assert_eq!(authority.sync().await.targets_published, 1);
        assert_eq!(complete(&mut events, "orders").await, Outcome::Success);
        assert_eq!(authority.status("orders", "b"), RowStatus::Success);
    }
    assert_sent_never_follows_success(&management.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_that_overtakes_a_slow_mark_sent_does_not_let_the_status_go_back() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let memory = directory_of(&["b"]);
    let (entered, permits) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (signal, gate) = (entered.clone(), permits.clone());
    let script = Script::default().before(move |call| {
        let (signal, gate) = (signal.clone(), gate.clone());
        async move {
            if matches!(call, Call::Sent(_)) {
                signal.add_permits(1);
                gate.acquire().await.unwrap().forget();
            }
            Ok(())
        }
    });
    let management = Between::new(&memory, script);
    let authority =
        mesh.full_with("authority", &store, memory, |b| b.management(management.clone())).await;
    let b = RawTarget::silent(&mesh, "b").await;
    authority.ensure("orders", &["b"]).await;
    let peer = authority.peer.clone();
    let syncing = tokio::spawn(async move { peer.sync().await });
    entered.acquire().await.unwrap().forget();
    // "Sent" is being written; the answer is in the peer's hands before that is done.
    mesh.send("authority", &ack(&b.nth(0).await, "b")).await;
    mesh.drained("authority").await;
    permits.add_permits(1);
    syncing.await.unwrap().unwrap();
    assert_eq!(authority.reports("orders").await, Outcome::Success);
    assert_eq!(authority.status("orders", "b"), RowStatus::Success);
    assert_sent_never_follows_success(&management.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_counts_although_its_event_was_never_recorded_as_sent() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let memory = directory_of(&["b"]);
    let script = Script::default().fails(|call| {
        matches!(call, Call::Sent(_)).then(|| ManagementError::permanent("no sent today"))
    });
    let management = Between::new(&memory, script);
    let clock = StepClock::default();
    let authority = mesh
        .full_with("authority", &store, memory, |builder| {
            builder.management(management).clock(clock.clone())
        })
        .await;
    let b = RawTarget::silent(&mesh, "b").await;
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    let first = b.nth(0).await;
    assert_eq!(authority.status("orders", "b"), RowStatus::Pending);
    // It is in flight all the same: not sent again before its time, then under the same id.
    assert_eq!(authority.sync().await.targets_waiting, 1);
    clock.step(31_000);
    eventually(SOON, || async { (authority.sync().await.targets_published == 1).then_some(()) })
        .await;
    let again = b.nth(1).await;
    assert_eq!((&first["eventId"], &first["ts"]), (&again["eventId"], &again["ts"]));
    mesh.send("authority", &ack(&first, "b")).await;
    assert_eq!(authority.reports("orders").await, Outcome::Success);
    assert_eq!(authority.row("orders", "b").proof, Some(Proof::Signed));
}
