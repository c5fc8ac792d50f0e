//! Targets that cannot sign their answers, and answers that prove nothing.

use hmac_propagator::error::ErrorKind;
use hmac_propagator::event::{Event, Refusal};
use hmac_propagator::management::{MemoryManagement, Outcome, Proof, RowStatus};
use hmac_propagator::propagator::{Ensure, Revoke, Rotate};
use serde_json::Value;

use crate::help::{RawTarget, Recorder, ack, fresh_id};
use crate::mesh::{
    Mesh, Store, client_id, complete, directory_of, propagation_secret, queue, ready, secret, seen,
};

fn unsigned(mut answer: Value) -> Value {
    answer["propagationSecret"] = "".into();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsigned_ack_of_a_target_that_is_not_declared_receive_only_is_dropped_and_counted() {
    let mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let recorder = Recorder::default();
    let authority = mesh
        .full_with("authority", &at, directory_of(&["b"]), |x| x.observer(recorder.clone()))
        .await;
    let _b = ready(mesh.peer("b", &b)).await;
    let mut events = authority.peer.events();
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    seen(&mut events, |event| matches!(event, Event::Refused { .. }).then_some(())).await;
    assert_eq!(recorder.refusals(), [Refusal::Unsigned]);
    assert_eq!(authority.peer.status().await.refused, 1);
    assert_eq!(authority.status("orders", "b"), RowStatus::Sent);
    assert_eq!(authority.reported("orders"), None);
    assert_eq!(b.hash("orders").await, at.hash("orders").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_receive_only_target_settles_its_row_which_says_so() {
    let mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let memory = MemoryManagement::new();
    memory.add_receive_only_target(queue("b"), propagation_secret("b"));
    let authority =
        mesh.full_with("authority", &at, memory, |x| x.hand_over_plain_secrets(true)).await;
    let _b = ready(mesh.peer("b", &b)).await;
    authority.ensure("orders", &["b"]).await;
    assert!(authority.keeps_plain("orders"));
    authority.sync().await;
    assert_eq!(authority.reports("orders").await, Outcome::Success);
    let row = authority.row("orders", "b");
    assert_eq!((row.status, row.proof), (RowStatus::Success, Some(Proof::ReceiveOnly)));
    assert!(!authority.keeps_plain("orders"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_acks_are_refused_whatever_their_target_is_declared_as() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let memory = directory_of(&["b", "c"]);
    memory.add_receive_only_target(queue("r"), propagation_secret("r"));
    let recorder = Recorder::default();
    let authority =
        mesh.full_with("authority", &store, memory, |x| x.observer(recorder.clone())).await;
    let (b, r) = (RawTarget::silent(&mesh, "b").await, RawTarget::silent(&mesh, "r").await);
    authority.ensure("orders", &["b", "r"]).await;
    authority.sync().await;
    let (to_b, to_r) = (b.nth(0).await, r.nth(0).await);
    let mut unknown = ack(&to_b, "b");
    unknown["ackEventId"] = fresh_id().into();
    let mut wrong_secret = ack(&to_b, "b");
    wrong_secret["propagationSecret"] = "propagation-secret-of-anything".into();
    let forged = [
        (ack(&to_b, "c"), Refusal::ForeignAck),
        (ack(&to_r, "b"), Refusal::ForeignAck),
        (unsigned(ack(&to_r, "b")), Refusal::ForeignAck),
        (unsigned(ack(&to_b, "b")), Refusal::Unsigned),
        (unsigned(unknown.clone()), Refusal::UnknownAck),
        (unknown, Refusal::UnknownAck),
        (wrong_secret, Refusal::WrongSecret),
    ];
    let mut events = authority.peer.events();
    for (forgery, expected) in forged {
        mesh.send("authority", &forgery).await;
        let refusal = seen(&mut events, |event| match event {
            Event::Refused { reason, .. } => Some(*reason),
            _ => None,
        });
        assert_eq!(refusal.await, expected, "{forgery}");
        assert_eq!(authority.status("orders", "b"), RowStatus::Sent);
        assert_eq!(authority.status("orders", "r"), RowStatus::Sent);
    }
    mesh.send("authority", &unsigned(ack(&to_r, "r"))).await;
    authority.becomes("orders", "r", RowStatus::Success).await;
    mesh.send("authority", &ack(&to_b, "b")).await;
    assert_eq!(authority.reports("orders").await, Outcome::Success);
    // A second ack of a settled event repeats what is known and is no forgery.
    let refused = recorder.refusals().len();
    mesh.send("authority", &ack(&to_b, "b")).await;
    seen(&mut events, |event| matches!(event, Event::AckReceived { .. }).then_some(())).await;
    mesh.drained("authority").await;
    assert_eq!(recorder.refusals().len(), refused);
    assert_eq!(authority.status("orders", "b"), RowStatus::Success);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receive_only_peer_that_was_given_its_sources_secret_signs() {
    let mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let authority = mesh.full("authority", &at, &["b"]).await;
    let b = mesh.target("b", &b, "authority").await;
    let mut events = authority.peer.events();
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    assert_eq!(complete(&mut events, "orders").await, Outcome::Success);
    assert_eq!(authority.row("orders", "b").proof, Some(Proof::Signed));
    for error in [
        b.sync().await.unwrap_err(),
        b.ensure(Ensure::new(client_id("x"), secret("y"))).await.unwrap_err(),
        b.rotate(Rotate::new(client_id("x"), secret("y"))).await.unwrap_err(),
        b.revoke(Revoke::new(client_id("x"))).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::ManagementNotConfigured);
        assert_eq!(error.code(), "MANAGEMENT_NOT_CONFIGURED");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_peer_signs_with_what_its_own_directory_says_of_the_source() {
    let mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let authority = mesh.full("authority", &at, &["b"]).await;
    let _b = mesh.full("b", &b, &["authority"]).await;
    let mut events = authority.peer.events();
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    assert_eq!(complete(&mut events, "orders").await, Outcome::Success);
    assert_eq!(authority.row("orders", "b").proof, Some(Proof::Signed));
}
