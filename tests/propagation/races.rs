//! Decisions, syncs and answers about the same credentials, all at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hmac_propagator::error::StoreError;
use hmac_propagator::event::Refusal;
use hmac_propagator::management::{Outcome, RowStatus};
use hmac_propagator::propagator::{Propagator, Rotate};
use hmac_propagator::state::{Committed, FieldPage, Key, RedisState, StateStore, Transaction};
use hmac_propagator_support::eventually;
use tokio::sync::Semaphore;

use crate::help::{Between, Call, RawTarget, Recorder, Script, ack};
use crate::mesh::{
    Full, Mesh, SOON, Store, client_id, directory_of, propagation_secret, queue, ready, secret,
};

/// A state store that, once armed, holds the next answer that tells of revisions.
#[derive(Clone, Debug)]
struct Held {
    inner: RedisState,
    armed: Arc<AtomicBool>,
    holding: Arc<Semaphore>,
    go_on: Arc<Semaphore>,
}

impl Held {
    fn new(inner: &RedisState) -> Self {
        Self {
            inner: inner.clone(),
            armed: Arc::default(),
            holding: Arc::new(Semaphore::new(0)),
            go_on: Arc::new(Semaphore::new(0)),
        }
    }
}

#[async_trait]
impl StateStore for Held {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<String>>, StoreError> {
        let read = self.inner.get(keys).await;
        let about_revisions = keys.iter().all(|key| key.name.contains(":revision:"));
        if about_revisions && self.armed.swap(false, Ordering::SeqCst) {
            self.holding.add_permits(1);
            self.go_on.acquire().await.unwrap().forget();
        }
        read
    }

    async fn commit(&self, transactions: &[Transaction]) -> Result<Vec<Committed>, StoreError> {
        self.inner.commit(transactions).await
    }

    async fn fields(&self, hash: &str, after: Option<String>) -> Result<FieldPage, StoreError> {
        self.inner.fields(hash, after).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_comes_while_an_answer_is_judged_is_not_settled_by_it() {
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let held = Held::new(&store.state);
    let memory = directory_of(&["b"]);
    let management = Between::new(&memory, Script::default().ignores_revisions());
    let name = queue("authority");
    let secret_of = propagation_secret("authority");
    let builder = Propagator::builder(mesh.options(), name, secret_of, held.clone())
        .credential_store(store.http.clone())
        .management(management)
        .hand_over_plain_secrets(true);
    let authority = Full { peer: ready(builder).await, management: memory };
    let b = RawTarget::silent(&mesh, "b").await;
    authority.ensure("orders", &["b"]).await;
    authority.sync().await;
    let first = b.nth(0).await;

    held.armed.store(true, Ordering::SeqCst);
    mesh.send("authority", &ack(&first, "b")).await;
    // The revision was read as the answer's own, and the answer is not settled yet.
    held.holding.acquire().await.unwrap().forget();
    let peer = authority.peer.clone();
    let rotating = Rotate::new(client_id("orders"), secret("second"));
    let mut rotating = tokio::spawn(async move { peer.rotate(rotating).await });
    // Either the decision waits for the answer, or it comes first: both must end well.
    let _ = tokio::time::timeout(Duration::from_millis(200), &mut rotating).await;
    held.go_on.add_permits(1);
    if !rotating.is_finished() {
        (&mut rotating).await.unwrap().unwrap();
    }
    mesh.drained("authority").await;
    authority.sync().await;
    let second = b.nth(1).await;
    assert_ne!(second["payload"]["secretHash"], first["payload"]["secretHash"]);
    assert_eq!(authority.status("orders", "b"), RowStatus::Sent);
    assert!(authority.keeps_plain("orders"));
    mesh.send("authority", &ack(&second, "b")).await;
    assert_eq!(authority.reports("orders").await, Outcome::Success);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_syncs_and_answers_at_once_neither_lock_up_nor_lose_a_revision() {
    const CLIENTS: usize = 24;
    const ROUNDS: usize = 12;
    let mesh = Mesh::new().await;
    let store = Store::start().await;
    let (memory, recorder) = (directory_of(&["b", "c"]), Recorder::default());
    // Recording "sent" takes its time, so that answers and decisions meet it under way.
    let script = Script::default().ignores_revisions().before(|call| async move {
        if matches!(call, Call::Sent(_)) {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        Ok(())
    });
    let management = Between::new(&memory, script);
    let authority = mesh
        .full_with("authority", &store, memory, |builder| {
            builder
                .management(management)
                .hand_over_plain_secrets(true)
                .observer(recorder.clone())
                .retry(Duration::from_millis(5), Duration::from_millis(50))
        })
        .await;
    let authority = Arc::new(authority);
    let b = RawTarget::instant(&mesh, "b").await;
    let c = RawTarget::instant(&mesh, "c").await;
    for client in 0..CLIENTS {
        authority.ensure(&format!("c{client}"), &["b", "c"]).await;
    }
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let authority = authority.clone();
        tasks.spawn(async move {
            for round in 0..ROUNDS {
                authority.rotate(&format!("c{client}"), &format!("secret {round}")).await;
                authority.sync().await;
            }
        });
    }
    let all = tokio::time::timeout(3 * SOON, async {
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    });
    all.await.expect("no lock-up");
    for client in 0..CLIENTS {
        let client = format!("c{client}");
        eventually(SOON, || async {
            authority.sync().await;
            authority.reported(&client)
        })
        .await;
        assert!(!authority.keeps_plain(&client));
        let held = store.hash(&client).await;
        for target in [&b, &c] {
            // What the target was told last is what the authority holds.
            let told = target.seen().into_iter().filter(|event| event["clientId"] == *client);
            let last = told.max_by_key(|event| event["ts"].as_u64()).unwrap();
            assert_eq!(last["payload"]["secretHash"].as_str(), held.as_deref());
            let ids: BTreeSet<_> = target
                .seen()
                .iter()
                .filter(|event| event["clientId"] == *client && event["ts"] == last["ts"])
                .map(|event| event["eventId"].to_string())
                .collect();
            assert_eq!(ids.len(), 1, "one event per revision and target");
        }
    }
    assert_eq!(recorder.refusals(), Vec::<Refusal>::new());
}
