//! Acks, results and the clearing of the plain secret count for their own revision and no other.

use std::sync::Arc;
use std::time::Duration;

use hmac_propagator::event::Event;
use hmac_propagator::id::Track;
use hmac_propagator::management::{ManagementError, Outcome, RowStatus};
use hmac_propagator::propagator::{Ensure, Propagator, Rotate};
use hmac_propagator_support::eventually;
use tokio::sync::Semaphore;

use crate::help::{Between, Call, RawTarget, Script, ack, refusal};
use crate::mesh::{
    Full, Mesh, SOON, Store, client_id, complete, directory_of, key_on, queue, secret, seen,
};

/// An authority that hands plain secrets over to a management side behind `script`.
async fn authority(mesh: &Mesh, store: &Store, script: Script) -> Full {
    let memory = directory_of(&["b", "c"]);
    let management = Between::new(&memory, script);
    mesh.full_with("authority", store, memory, |builder| {
        builder.management(management).hand_over_plain_secrets(true)
    })
    .await
}

async fn outdated(events: &mut hmac_propagator::event::EventStream) {
    seen(events, |event| matches!(event, Event::AckOutdated { .. }).then_some(())).await;
}

async fn late_acks_change_nothing(script: Script) {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let authority = authority(&mesh, &store, script).await;
    let b = RawTarget::silent(&mesh, "b").await;
    let mut events = authority.peer.events();
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    let first = b.nth(0).await;
    let revision = authority.row("orders", "b").revision;

    authority.rotate("orders", "second").await;
    mesh.send("authority", &ack(&first, "b")).await;
    outdated(&mut events).await;
    assert!(authority.row("orders", "b").revision > revision);
    assert_eq!(authority.status("orders", "b"), RowStatus::Pending);
    assert!(authority.keeps_plain("orders"));

    authority.sync().await;
    let second = b.nth(1).await;
    assert_ne!(first["eventId"], second["eventId"]);
    for late in [ack(&first, "b"), refusal(&first, "b", "too late")] {
        mesh.send("authority", &late).await;
        outdated(&mut events).await;
        still_sent(&authority);
    }
    mesh.send("authority", &ack(&second, "b")).await;
    assert_eq!(complete(&mut events, "orders").await, Outcome::Success);
    assert_eq!(authority.status("orders", "b"), RowStatus::Success);
    assert!(!authority.keeps_plain("orders"));
}

fn still_sent(authority: &Full) {
    assert_eq!(authority.status("orders", "b"), RowStatus::Sent);
    assert!(authority.keeps_plain("orders"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_ack_of_an_older_revision_leaves_the_newer_one_pending() {
    late_acks_change_nothing(Script::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_ack_of_an_older_revision_is_held_back_from_an_adapter_that_ignores_revisions() {
    late_acks_change_nothing(Script::default().ignores_revisions()).await;
}

/// A rotation that the management side records while the authority's Redis stops taking writes.
async fn rotate_in_doubt(authority: &Full, store: &Store, recording: &Semaphore, go: &Semaphore) {
    let peer = authority.peer.clone();
    let rotate = Rotate::new(client_id("orders"), secret("second"));
    let rotating = tokio::spawn(async move { peer.rotate(rotate).await });
    recording.acquire().await.unwrap().forget();
    store.redis.set_read_only(true).await.unwrap();
    go.add_permits(1);
    rotating.await.unwrap().unwrap_err();
    store.redis.set_read_only(false).await.unwrap();
}

/// Says when a rotation is about to be recorded, and waits for a word.
fn held_at_rotate(recording: &Arc<Semaphore>, go: &Arc<Semaphore>) -> Script {
    let (signal, gate) = (recording.clone(), go.clone());
    Script::default().before(move |call| {
        let (signal, gate) = (signal.clone(), gate.clone());
        async move {
            if matches!(call, Call::Rotate(_)) {
                signal.add_permits(1);
                gate.acquire().await.unwrap().forget();
            }
            Ok(())
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_the_revision_before_does_not_count_for_a_decision_that_ended_in_doubt() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let (recording, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let memory = directory_of(&["b"]);
    let management = Between::new(&memory, held_at_rotate(&recording, &go).ignores_revisions());
    // Six tries take longer than the lease, so that they outlast it.
    let authority = mesh
        .full_with("authority", &store, memory, |builder| {
            builder
                .management(management)
                .hand_over_plain_secrets(true)
                .callback_timeout(Duration::from_secs(2))
                .operation_lease(Duration::from_millis(2_100))
                .retry(Duration::from_millis(500), Duration::from_secs(1))
        })
        .await;
    let b = RawTarget::silent(&mesh, "b").await;
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    let first = b.nth(0).await;
    let mut events = authority.peer.events();
    rotate_in_doubt(&authority, &store, &recording, &go).await;
    mesh.send("authority", &ack(&first, "b")).await;
    for _ in 0..6 {
        let settling = |event: &Event| match event {
            Event::Retrying { what, .. } => (*what == "settling answers").then_some(()),
            _ => None,
        };
        seen(&mut events, settling).await;
    }
    assert_eq!(authority.status("orders", "b"), RowStatus::Pending);
    assert!(authority.keeps_plain("orders"));

    authority.sync().await;
    mesh.send("authority", &ack(&b.nth(1).await, "b")).await;
    assert_eq!(complete(&mut events, "orders").await, Outcome::Success);
    assert_eq!(authority.status("orders", "b"), RowStatus::Success);
}

/// Nothing is open about it: only what fills a lost store leads to it, and the doubt must not keep that out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_without_rows_that_a_decision_left_in_doubt_is_in_the_own_store_after_it_was_lost()
 {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let memory = directory_of(&[]);
    let script = Script::default().fails(|call| {
        matches!(call, Call::Rotate(_)).then(|| ManagementError::transient("who knows"))
    });
    let management = Between::new(&memory, script);
    let authority =
        mesh.full_with("authority", &store, memory, |builder| builder.management(management)).await;
    authority.ensure("orders", &[]).await;
    authority.sync().await;
    assert!(authority.reported("orders").is_some());
    let decided = store.cursor_ts("orders").await.unwrap();
    store.redis.flush_all().await.unwrap();
    let rotate = Rotate::new(client_id("orders"), secret("second"));
    authority.peer.rotate(rotate).await.unwrap_err();
    eventually(SOON, || async {
        authority.sync().await;
        (store.cursor_ts("orders").await == Some(decided)).then_some(())
    })
    .await;
}

async fn ensure_on(peer: &Propagator, track: Track) {
    let request = Ensure::new(client_id("orders"), secret(track.as_str())).track(track);
    peer.ensure(request.targets([queue("b")])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_tracks_of_one_client_never_mix() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let authority = authority(&mesh, &store, Script::default()).await;
    let b = RawTarget::silent(&mesh, "b").await;
    let mut events = authority.peer.events();
    ensure_on(&authority.peer, Track::Http).await;
    ensure_on(&authority.peer, Track::Message).await;
    assert_eq!(authority.sync().await.targets_published, 2);
    b.nth(1).await;
    let of = |track: &str| b.seen().into_iter().find(|event| event["track"] == track).unwrap();
    let (http, message) = (of("http"), of("message"));
    assert_ne!(http["eventId"], message["eventId"]);
    assert_ne!(http["payload"]["secretHash"], message["payload"]["secretHash"]);

    mesh.send("authority", &ack(&http, "b")).await;
    complete(&mut events, "orders").await;
    let standing = |track| {
        let credential = authority.management.credential(&key_on(track, "orders")).unwrap();
        let status = authority.row_on(track, "orders", "b").status;
        (status, credential.keeps_plain_secret, credential.reported)
    };
    assert_eq!(standing(Track::Http), (RowStatus::Success, false, Some(Outcome::Success)));
    assert_eq!(standing(Track::Message), (RowStatus::Sent, true, None));

    mesh.send("authority", &refusal(&message, "b", "no such store")).await;
    assert_eq!(complete(&mut events, "orders").await, Outcome::Error);
    assert_eq!(standing(Track::Http), (RowStatus::Success, false, Some(Outcome::Success)));
    assert_eq!(standing(Track::Message), (RowStatus::Error, false, Some(Outcome::Error)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_is_complete_only_when_its_last_target_has_answered() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let authority = authority(&mesh, &store, Script::default()).await;
    let b = RawTarget::instant(&mesh, "b").await;
    let c = RawTarget::silent(&mesh, "c").await;
    let mut events = authority.peer.events();
    authority.ensure("orders", &["b", "c"]).await;
    authority.sync().await;
    b.nth(0).await;
    authority.becomes("orders", "b", RowStatus::Success).await;
    assert!(authority.keeps_plain("orders"));
    assert_eq!(authority.reported("orders"), None);
    mesh.send("authority", &refusal(&c.nth(0).await, "c", "disk full")).await;
    assert_eq!(complete(&mut events, "orders").await, Outcome::Partial);
    assert_eq!(authority.row("orders", "c").reason.as_deref(), Some("disk full"));
    assert!(!authority.keeps_plain("orders"));
}
