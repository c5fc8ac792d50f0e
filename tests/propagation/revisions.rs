//! Acks, results and the clearing of the plain secret count for their own revision and no other.

use hmac_propagator::event::Event;
use hmac_propagator::id::Track;
use hmac_propagator::management::{Outcome, RowStatus};
use hmac_propagator::propagator::{Ensure, Propagator};

use crate::help::{Between, RawTarget, Script, ack, refusal};
use crate::mesh::{
    Full, Mesh, Store, client_id, complete, directory_of, key_on, queue, secret, seen,
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
