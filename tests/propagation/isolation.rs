//! What is wrong with one row, target or callback delays nothing else, and the row says why.

use std::time::{Duration, Instant};

use hmac_propagator::event::Event;
use hmac_propagator::management::{
    ManagementError, Operation, Outcome, PendingPage, PendingWork, RowStatus,
};
use hmac_propagator_support::eventually;
use hmac_propagator_support::lapin::types::{AMQPValue, FieldTable};

use crate::help::{Between, Call, RawTarget, Recorder, Script, StepClock};
use crate::mesh::{Full, Mesh, SOON, Store, complete, directory_of, queue, queue_name};

/// Makes the rows of clients that are named for it bad, as a database may hold them.
fn spoil(page: &mut PendingPage) {
    for entry in &mut page.entries {
        let client = entry.client_id.clone();
        let PendingWork::Deliver(target) = &mut entry.work else { continue };
        if let Operation::Put { secret_hash, allowed_ips, .. } = &mut entry.operation {
            match client.as_str() {
                "null-hash" => secret_hash.clear(),
                "no-hash" => *secret_hash = "not a hash".into(),
                "bad-rule" => *allowed_ips = Some(vec!["10.0.0.0/33".into()]),
                _ => {}
            }
        }
        match client.as_str() {
            "no-secret" => target.propagation_secret = None,
            "bad-queue" => target.queue = "../x".into(),
            "own-queue" => target.queue = "authority".into(),
            "bad-client" => entry.client_id = "a\nb".into(),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_rows_say_why_and_the_others_propagate() {
    let mesh = Mesh::new().await;
    let (at, b) = (Store::start().await, Store::start().await);
    let (memory, recorder) = (directory_of(&["b"]), Recorder::default());
    let management = Between::new(&memory, Script::default().page(spoil));
    let authority = mesh
        .full_with("authority", &at, memory, |builder| {
            builder.management(management).observer(recorder.clone())
        })
        .await;
    let _b = mesh.target("b", &b, "authority").await;
    let bad =
        ["null-hash", "no-hash", "bad-rule", "no-secret", "bad-queue", "own-queue", "bad-client"];
    // Good ones before, between and behind the bad ones, in the order of the rows.
    let good = ["a", "bad-m", "no-r", "z"];
    for client in bad.iter().chain(&good) {
        authority.ensure(client, &["b"]).await;
    }
    let summary = authority.sync().await;
    assert_eq!((summary.targets_published, summary.rows_unusable), (4, 7));
    for client in good {
        assert_eq!(authority.reports(client).await, Outcome::Success);
        assert_eq!(b.hash(client).await, at.hash(client).await);
    }
    for (client, why) in [
        ("null-hash", "secretHash: expected"),
        ("no-hash", "secretHash: expected"),
        ("bad-rule", "allowedIps"),
        ("no-secret", "propagation secret: expected"),
    ] {
        let row = authority.row(client, "b");
        assert_eq!(row.status, RowStatus::Error, "{client}");
        assert!(row.reason.clone().unwrap().starts_with(why), "{row:?}");
        assert_eq!(authority.reported(client), Some(Outcome::Error));
        assert_eq!(b.hash(client).await, None);
    }
    let own = |event: &Event| {
        matches!(event, Event::DeliveryFailed { target, reason, .. }
            if *target == queue("authority") && reason.contains("own queue"))
    };
    assert_eq!(recorder.count(own), 1);
    let unnamed = |named: &str| {
        let named = named.to_owned();
        recorder.count(move |event| {
            matches!(event, Event::RowUnusable { client, reason, .. }
                if *client == named && reason.contains("expected"))
        })
    };
    assert_eq!((unnamed("bad-queue"), unnamed("a b")), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_with_foreign_arguments_fails_only_its_rows_until_it_is_removed() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let clock = StepClock::default();
    let authority = mesh
        .full_with("authority", &store, directory_of(&["b", "c"]), |builder| {
            builder.clock(clock.clone()).hand_over_plain_secrets(true)
        })
        .await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(7));
    mesh.queues.declare_with(&queue_name("c"), arguments).await.unwrap();
    let _b = RawTarget::instant(&mesh, "b").await;
    for client in ["one", "two"] {
        authority.ensure(client, &["b", "c"]).await;
    }
    authority.ensure("three", &["b"]).await;
    let summary = authority.sync().await;
    assert_eq!((summary.targets_published, summary.targets_retrying), (3, 2));
    assert_eq!(authority.reports("three").await, Outcome::Success);
    for client in ["one", "two"] {
        authority.becomes(client, "b", RowStatus::Success).await;
        let row = authority.row(client, "c");
        assert_eq!(row.status, RowStatus::Error);
        assert!(row.reason.unwrap().contains("other arguments"));
        // Not complete, so nothing may be cleared.
        assert_eq!(authority.reported(client), None);
        assert!(authority.keeps_plain(client));
    }
    mesh.queues.delete(&queue_name("c")).await.unwrap();
    let _c = RawTarget::instant(&mesh, "c").await;
    clock.step(31_000);
    assert_eq!(authority.sync().await.targets_published, 2);
    for client in ["one", "two"] {
        assert_eq!(authority.reports(client).await, Outcome::Success);
        assert!(!authority.keeps_plain(client));
    }
}

/// An authority whose management side cannot record the success of client `bad`.
async fn failing(mesh: &Mesh, store: &Store, error: ManagementError) -> (Full, Recorder) {
    let (memory, recorder) = (directory_of(&["b"]), Recorder::default());
    let script = Script::default().fails(move |call| {
        (matches!(call, Call::Success(_)) && call.concerns("bad")).then(|| error.clone())
    });
    let management = Between::new(&memory, script);
    let authority = mesh
        .full_with("authority", store, memory, |builder| {
            builder.management(management).observer(recorder.clone())
        })
        .await;
    (authority, recorder)
}

async fn others_settle(error: ManagementError) {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let (authority, recorder) = failing(&mesh, &store, error).await;
    let _b = RawTarget::instant(&mesh, "b").await;
    let good: Vec<String> = (0..30).map(|number| format!("good-{number}")).collect();
    for client in &good {
        authority.ensure(client, &["b"]).await;
    }
    authority.ensure("bad", &["b"]).await;
    authority.sync().await;
    for client in &good {
        assert_eq!(authority.reports(client).await, Outcome::Success);
    }
    assert_ne!(authority.status("bad", "b"), RowStatus::Success);
    // It is announced, and not in a hot loop.
    eventually(SOON, || async { (recorder.retries() > 0).then_some(()) }).await;
    assert!(recorder.retries() < 100, "{}", recorder.retries());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_fails_for_one_row_for_good_does_not_keep_the_others() {
    others_settle(ManagementError::permanent("constraint")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_fails_for_one_row_for_now_does_not_keep_the_others() {
    others_settle(ManagementError::transient("lock timeout")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_never_answers_delays_nobody() {
    const TARGETS: usize = 100;
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let names: Vec<String> = (0..TARGETS).map(|number| format!("t{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let authority = mesh.full("authority", &store, &names).await;
    let mut targets = vec![RawTarget::silent(&mesh, names[0]).await];
    for name in &names[1..] {
        targets.push(RawTarget::instant(&mesh, name).await);
    }
    let mut events = authority.peer.events();
    authority.ensure("others", &names[1..]).await;
    authority.sync().await;
    assert_eq!(complete(&mut events, "others").await, Outcome::Success);
    let mut rotated = async |to: &str| {
        authority.rotate("others", to).await;
        let begun = Instant::now();
        authority.sync().await;
        assert_eq!(complete(&mut events, "others").await, Outcome::Success);
        begun.elapsed()
    };
    let usual = rotated("second").await;
    // One stands still, with a credential of its own and one that all have.
    authority.ensure("its-own", &names[..1]).await;
    authority.ensure("all", &names).await;
    let then = rotated("third").await;
    // Waiting for it would take many seconds.
    assert!(then < 3 * usual + Duration::from_secs(1), "{usual:?} and then {then:?}");
    for name in &names[1..] {
        authority.becomes("all", name, RowStatus::Success).await;
    }
    assert_eq!(authority.status("all", names[0]), RowStatus::Sent);
    assert_eq!(authority.reported("all"), None);
}
