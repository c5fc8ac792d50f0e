//! What is not answered is sent again: the same event, ever more rarely, never piling up.

use hmac_propagator::event::{Event, Refusal};
use hmac_propagator::management::{ManagementError, Outcome, RowStatus};
use hmac_propagator_support::eventually;

use crate::help::{Between, Call, RawTarget, Recorder, Script, StepClock, ack};
use crate::mesh::{Full, Mesh, SOON, Store, complete, directory_of, seen};

const SECOND: i64 = 1000;
const DAY: i64 = 24 * StepClock::HOUR;

async fn with_clock(mesh: &Mesh, store: &Store) -> (Full, StepClock, Recorder) {
    let (clock, recorder) = (StepClock::default(), Recorder::default());
    let authority = mesh
        .full_with("authority", store, directory_of(&["b"]), |builder| {
            builder.clock(clock.clone()).observer(recorder.clone()).hand_over_plain_secrets(true)
        })
        .await;
    (authority, clock, recorder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_event_is_sent_again_as_it_was_and_ever_more_rarely() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let (authority, clock, _) = with_clock(&mesh, &store).await;
    let b = RawTarget::silent(&mesh, "b").await;
    authority.ensure("orders", &["b"]).await;
    assert_eq!(authority.sync().await.targets_published, 1);
    let first = b.nth(0).await;
    // Default: 30 s, doubling.
    for (number, wait) in [30, 60, 120, 240].into_iter().enumerate() {
        assert_eq!(authority.sync().await.targets_published, 0);
        clock.step((wait - 10) * SECOND);
        assert_eq!(authority.sync().await.targets_published, 0, "{wait} s are not over");
        clock.step(10 * SECOND);
        assert_eq!(authority.sync().await.targets_published, 1, "{wait} s are over");
        assert_eq!(b.nth(number + 1).await, first);
    }
    assert_eq!(authority.row("orders", "b").attempts, 5);
    mesh.send("authority", &ack(&first, "b")).await;
    assert_eq!(authority.reports("orders").await, Outcome::Success);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_was_away_for_eight_days_finds_one_message_per_credential() {
    const CLIENTS: u32 = 20;
    let mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let (authority, clock, recorder) = with_clock(&mesh, &at).await;
    for client in 0..CLIENTS {
        authority.ensure(&format!("c{client}"), &["b"]).await;
    }
    assert_eq!(authority.sync().await.targets_published, u64::from(CLIENTS));
    for _ in 0..8 {
        clock.step(DAY);
        let summary = authority.sync().await;
        assert_eq!((summary.targets_published, summary.targets_waiting), (0, CLIENTS.into()));
    }
    mesh.filled("b", CLIENTS).await;
    clock.step(-8 * DAY);
    let _b = mesh.target("b", &b, "authority").await;
    for client in 0..CLIENTS {
        let client = format!("c{client}");
        assert_eq!(authority.reports(&client).await, Outcome::Success);
        assert_eq!(b.hash(&client).await, at.hash(&client).await);
        assert!(!authority.keeps_plain(&client));
    }
    assert_eq!(recorder.refusals(), Vec::<Refusal>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_settle_after_the_sources_redis_was_wiped_while_they_were_in_flight() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let (authority, clock, recorder) = with_clock(&mesh, &store).await;
    let b = RawTarget::silent(&mesh, "b").await;
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    let first = b.nth(0).await;
    authority.becomes("orders", "b", RowStatus::Sent).await;
    store.redis.flush_all().await.unwrap();
    let mut events = authority.peer.events();
    mesh.send("authority", &ack(&first, "b")).await;
    seen(&mut events, |event| matches!(event, Event::Refused { .. }).then_some(())).await;
    assert_eq!(recorder.refusals(), [Refusal::UnknownAck]);
    assert!(authority.keeps_plain("orders"));

    // Only the management side remembers the event now: it goes out again as it was.
    clock.step(31 * SECOND);
    assert_eq!(authority.sync().await.targets_published, 1);
    assert_eq!(b.nth(1).await, first);
    mesh.send("authority", &ack(&first, "b")).await;
    assert_eq!(complete(&mut events, "orders").await, Outcome::Success);
    assert_eq!(authority.status("orders", "b"), RowStatus::Success);
    assert!(!authority.keeps_plain("orders"));
    // The authority's own store got its credential back, too.
    assert_eq!(store.hash("orders").await.as_deref(), first["payload"]["secretHash"].as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_settle_even_when_nobody_remembers_the_event() {
    let mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let memory = directory_of(&["b"]);
    let script = Script::default().fails(|call| {
        matches!(call, Call::Sent(_)).then(|| ManagementError::permanent("never recorded"))
    });
    let management = Between::new(&memory, script);
    let authority = mesh.full_with("authority", &at, memory, |b| b.management(management)).await;
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    mesh.filled("b", 1).await;
    at.redis.flush_all().await.unwrap();
    // Another event of the same revision, of the same `ts`.
    authority.sync().await;
    mesh.filled("b", 2).await;
    let _b = mesh.target("b", &b, "authority").await;
    assert_eq!(authority.reports("orders").await, Outcome::Success);
    assert_eq!(authority.status("orders", "b"), RowStatus::Success);
    eventually(SOON, || async {
        (b.hash("orders").await == at.hash("orders").await).then_some(())
    })
    .await;
}
