//! Bad input on a real queue: a clear refusal, nothing applied, nothing stuck, no reply astray.

use hmac_propagator::event::{Event, EventStream, Refusal};
use hmac_propagator::propagator::Propagator;
use serde_json::{Value, json};

use crate::help::{Recorder, apply, fresh_id, hash_of, now_ms};
use crate::mesh::{Mesh, Store, propagation_secret_text, queue, ready, seen};

/// A target `b`, and the queue of a `source` that only the test reads.
struct Attacked {
    mesh: Mesh,
    store: Store,
    peer: Propagator,
    events: EventStream,
    recorder: Recorder,
}

impl Attacked {
    async fn new() -> Self {
        let (mesh, store, recorder) =
            (Mesh::new().await, Store::start().await, Recorder::default());
        let peer = ready(mesh.peer("b", &store).observer(recorder.clone())).await;
        mesh.queues.declare("hmac-source.queue").await.unwrap();
        let events = peer.events();
        Self { mesh, store, peer, events, recorder }
    }

    async fn raw(&self, body: &[u8]) {
        self.mesh.queues.publish("hmac-b.queue", body).await.unwrap();
    }

    /// Sends a body that must be dropped without an answer.
    async fn dropped(&mut self, body: &[u8], expected: Refusal) {
        self.raw(body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        assert_eq!(self.refusal().await, expected, "{shown}");
    }

    /// Sends an event that must be refused with an error answer that starts like this.
    async fn declined(&mut self, event: &Value, reason: &str) {
        self.raw(event.to_string().as_bytes()).await;
        assert_eq!(self.refusal().await, Refusal::Invalid, "{event}");
        let answer = self.mesh.take("source").await;
        assert_eq!(answer["ackEventId"], event["eventId"]);
        assert_eq!(answer["ackResult"], "error");
        let given = answer["ackReason"].as_str().unwrap();
        assert!(given.starts_with(reason), "{event}: {given}");
    }

    /// Sends an event that must be applied.
    async fn applied(&mut self, event: &Value) {
        self.raw(event.to_string().as_bytes()).await;
        let answer = self.mesh.take("source").await;
        assert_eq!(answer["ackEventId"], event["eventId"]);
        assert_eq!(answer["ackResult"], "applied", "{event}: {answer}");
    }

    async fn refusal(&mut self) -> Refusal {
        seen(&mut self.events, |event| match event {
            Event::Refused { reason, .. } => Some(*reason),
            _ => None,
        })
        .await
    }

    /// The clients that are stored.
    async fn clients(&self) -> Vec<String> {
        let mut clients: Vec<String> =
            self.store.redis.command(&["HKEYS", "hmac:http:clients"]).await.unwrap();
        clients.sort();
        clients
    }

    /// Nothing was stored by what came before, nothing is stuck, no answer waits, no queue but the
    /// two was made, every refusal was counted, and the peer still works.
    async fn unharmed(mut self, refusals: usize) {
        let marker = apply("source", "b", "marker", now_ms(), &hash_of(99));
        self.applied(&marker).await;
        assert_eq!(self.clients().await, ["marker"]);
        let mut keys: Vec<String> = self.store.redis.command(&["KEYS", "*"]).await.unwrap();
        // What is kept of the refused messages.
        keys.retain(|key| !key.starts_with("propagation:refused:"));
        // What the store says of itself.
        keys.retain(|key| !key.starts_with("propagation:store"));
        assert_eq!(keys.len(), 2, "the marker's record and cursor: {keys:?}");
        assert_eq!(self.mesh.queues.count("hmac-source.queue").await.unwrap(), Some(0));
        self.mesh.drained("b").await;
        let mut queues = self.mesh.queue_names().await;
        queues.sort();
        assert_eq!(queues, ["hmac-b.queue", "hmac-source.queue"]);
        assert_eq!(self.recorder.refusals().len(), refusals);
        assert_eq!(self.peer.status().await.refused, refusals as u64);
        assert!(self.peer.status().await.is_ready());
        // Out of the way for good: a new connection finds nothing either.
        self.peer.close().await;
        assert_eq!(self.mesh.queues.count("hmac-b.queue").await.unwrap(), Some(0));
    }
}

fn good() -> Value {
    apply("source", "b", "orders", now_ms(), &hash_of(1))
}

/// A good event with one field of its own.
fn with(field: &str, value: Value) -> Value {
    let mut event = good();
    event[field] = value;
    event
}

fn payload(fields: Value) -> Value {
    with("payload", fields)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_propagation_secret_is_dropped_without_an_answer() {
    let mut attacked = Attacked::new().await;
    let right = propagation_secret_text("b");
    let mut same_length = right.clone();
    same_length.replace_range(0..1, "q");
    let wrong = ["", "x", &same_length, &format!("{right} "), &right[1..], &right.to_uppercase()];
    for secret in wrong {
        let event = with("propagationSecret", secret.into());
        attacked.dropped(event.to_string().as_bytes(), Refusal::WrongSecret).await;
    }
    // Authority over one peer is none over another.
    let foreign = with("propagationSecret", propagation_secret_text("source").into());
    attacked.dropped(foreign.to_string().as_bytes(), Refusal::WrongSecret).await;
    attacked.unharmed(wrong.len() + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_never_beats_a_newer_event_not_even_after_redis_was_wiped() {
    let mut attacked = Attacked::new().await;
    let old = apply("source", "b", "orders", now_ms() - 10, &hash_of(1));
    let new = apply("source", "b", "orders", now_ms() - 5, &hash_of(2));
    attacked.applied(&old).await;
    attacked.applied(&new).await;
    attacked.applied(&old).await;
    assert_eq!(attacked.store.hash("orders").await, Some(hash_of(2)));
    attacked.store.redis.flush_all().await.unwrap();
    // The cursor is gone, and still: the replay is answered as before and not applied.
    attacked.applied(&old).await;
    assert_eq!(attacked.store.hash("orders").await, None);
    attacked.applied(&new).await;
    attacked.applied(&old).await;
    assert_eq!(attacked.store.hash("orders").await, Some(hash_of(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_sender_name_leads_an_answer_out_of_the_naming_rule() {
    let mut attacked = Attacked::new().await;
    let names = ["", "../x", "a b", "a.b", "source.queue", "amq.rabbitmq.trace", "ü", "a\n", "*"];
    let long = "q".repeat(10_240);
    for name in names.into_iter().chain([long.as_str()]) {
        let event = with("senderAmqpQueue", name.into());
        attacked.dropped(event.to_string().as_bytes(), Refusal::Malformed).await;
    }
    for odd in [json!(null), json!(7), json!(["source"]), json!({"a": "source"})] {
        let event = with("senderAmqpQueue", odd);
        attacked.dropped(event.to_string().as_bytes(), Refusal::Malformed).await;
    }
    attacked.unharmed(names.len() + 1 + 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_a_spoofed_sender_without_a_queue_goes_nowhere() {
    let mut attacked = Attacked::new().await;
    let event = apply("victim", "b", "marker", now_ms() - 10, &hash_of(99));
    attacked.raw(event.to_string().as_bytes()).await;
    seen(&mut attacked.events, |event| {
        matches!(event, Event::AnswerUndeliverable { source } if *source == queue("victim"))
            .then_some(())
    })
    .await;
    attacked.unharmed(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_client_ids_are_refused() {
    let mut attacked = Attacked::new().await;
    let bad = [
        json!(""),
        json!("   "),
        json!("a\nb"),
        json!("a\u{0}b"),
        json!("x".repeat(10_240)),
        json!(7),
        json!(null),
        json!(["a"]),
    ];
    let count = bad.len();
    for client in bad {
        attacked.declined(&with("clientId", client), "clientId: expected").await;
    }
    attacked.unharmed(count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_ids_that_look_like_keys_or_prototypes_touch_no_other_credential() {
    let mut attacked = Attacked::new().await;
    let clients = ["a", "a:b", "http:a", "__proto__", "constructor", "*", "a b", "é", "clients"];
    for (number, client) in clients.iter().enumerate() {
        let hash = hash_of(number as u64);
        attacked.applied(&apply("source", "b", client, now_ms(), &hash)).await;
    }
    for (number, client) in clients.iter().enumerate() {
        assert_eq!(attacked.store.hash(client).await, Some(hash_of(number as u64)), "{client}");
    }
    let mut expected: Vec<String> = clients.iter().map(|c| (*c).to_owned()).collect();
    expected.sort();
    assert_eq!(attacked.clients().await, expected);
    // Removing one removes that one.
    let mut delete = apply("source", "b", "a", now_ms() + 1000, "");
    delete["op"] = "credential.delete".into();
    attacked.applied(&delete).await;
    assert_eq!(
        attacked.clients().await,
        expected[..].iter().filter(|c| *c != "a").cloned().collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_is_dropped() {
    let mut attacked = Attacked::new().await;
    let text = good().to_string();
    let deep = |open: &str, close: &str| {
        text.replace(
            "{\"secretHash\"",
            &format!("{{\"x\":{}1{},\"secretHash\"", open.repeat(10_000), close.repeat(10_000)),
        )
    };
    let mut bodies: Vec<Vec<u8>> = [
        "",
        "null",
        "[]",
        "7",
        "\"x\"",
        "{",
        "{}",
        "not json",
        &text[1..],
        &text[..text.len() - 1],
        &format!("{text}{text}"),
        &deep("[", "]"),
        &deep("{\"a\":", "}"),
    ]
    .into_iter()
    .map(|body| body.as_bytes().to_vec())
    .collect();
    bodies.push([b"\xef\xbb\xbf", text.as_bytes()].concat());
    bodies.push(text.replace("orders", "\u{1}").into_bytes());
    bodies.push(text.replace("orders", "\\ud800").into_bytes());
    bodies.push(text.as_bytes().iter().map(|b| if *b == b'r' { 0xff } else { *b }).collect());
    for field in ["eventId", "ts", "propagationSecret", "senderAmqpQueue", "op"] {
        let mut event = good();
        event.as_object_mut().unwrap().remove(field);
        bodies.push(event.to_string().into_bytes());
        bodies.push(with(field, json!({})).to_string().into_bytes());
    }
    bodies.push(with("eventId", "".into()).to_string().into_bytes());
    for ts in ["\"1700000000000\"", "1e400", "-1e400", "NaN", "true"] {
        let event = good();
        bodies.push(event.to_string().replace(&event["ts"].to_string(), ts).into_bytes());
    }
    let count = bodies.len();
    for body in bodies {
        attacked.dropped(&body, Refusal::Malformed).await;
    }
    attacked.unharmed(count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_beyond_the_limit_is_dropped_whatever_it_holds() {
    let mut attacked = Attacked::new().await;
    let rules: Vec<Value> = (0..1_000_000).map(|_| json!("10.0.0.1")).collect();
    let million = payload(json!({"secretHash": hash_of(1), "allowedIps": rules}));
    attacked.dropped(million.to_string().as_bytes(), Refusal::Malformed).await;
    attacked.dropped(&vec![b' '; 64 << 20], Refusal::Malformed).await;
    attacked.unharmed(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusual_messages_that_other_peers_accept_are_applied() {
    let mut attacked = Attacked::new().await;
    let base = now_ms() - 100_000;
    let mut numbered = 0;
    // `ts` as a float, with an exponent, negative; unknown fields however deep; duplicate keys.
    for (from, to) in [
        (format!("\"ts\":{base}"), format!("\"ts\":{base}.5")),
        (format!("\"ts\":{base}"), format!("\"ts\":{}e3", base / 1000)),
        (format!("\"ts\":{base}"), "\"ts\":-1".to_owned()),
        ("{\"secretHash\"".into(), "{\"unknown\":[[[1]]],\"secretHash\"".into()),
        ("\"op\":".into(), "\"op\":\"credential.drop\",\"op\":".into()),
        ("\"clientId\":".into(), "\"clientId\":7,\"more\":null,\"clientId\":".into()),
    ] {
        numbered += 1;
        let client = format!("c{numbered}");
        let event = apply("source", "b", &client, base, &hash_of(numbered));
        let body = event.to_string().replace(&from, &to);
        assert_ne!(body, event.to_string());
        attacked.raw(body.as_bytes()).await;
        let answer = attacked.mesh.take("source").await;
        assert_eq!(answer["ackResult"], "applied", "{body}: {answer}");
        assert_eq!(attacked.store.hash(&client).await, Some(hash_of(numbered)));
    }
    // Upper case is stored as lower case, and an expiry of null clears an older one.
    let upper = format!("{:064X}", 0xabcdef);
    let expiring = json!({"secretHash": upper, "expiresAt": 4_000_000_000_000_u64});
    attacked.applied(&payload(expiring)).await;
    assert_eq!(attacked.store.hash("orders").await, Some(upper.to_lowercase()));
    let expiry = |found: Option<hmac_propagator::store::Credential>| found.unwrap().expires_at;
    assert_eq!(expiry(attacked.store.credential("orders").await), Some(4_000_000_000_000));
    attacked.applied(&payload(json!({"secretHash": hash_of(1)}))).await;
    assert_eq!(expiry(attacked.store.credential("orders").await), Some(4_000_000_000_000));
    attacked.applied(&payload(json!({"secretHash": hash_of(1), "expiresAt": null}))).await;
    assert_eq!(expiry(attacked.store.credential("orders").await), None);
    // Deleting what was never there is done.
    let mut delete = apply("source", "b", "never-seen", now_ms(), "");
    delete["op"] = "credential.delete".into();
    attacked.applied(&delete).await;
    assert_eq!(attacked.recorder.refusals(), Vec::<Refusal>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_that_cannot_be_applied_are_refused_by_name() {
    let mut attacked = Attacked::new().await;
    let hash = "payload.secretHash: expected";
    let mut missing = good();
    missing.as_object_mut().unwrap().remove("payload");
    let cases = [
        (missing, "payload: expected"),
        (payload(json!(null)), "payload: expected"),
        (payload(json!("x")), "payload: expected"),
        (payload(json!({})), hash),
        (payload(json!({"secretHash": ""})), hash),
        (payload(json!({"secretHash": 7})), hash),
        (payload(json!({"secretHash": "ab"})), hash),
        (payload(json!({"secretHash": "g".repeat(64)})), hash),
        (payload(json!({"secretHash": "a".repeat(65)})), hash),
        (payload(json!({"secretHash": hash_of(1), "expiresAt": "soon"})), "payload.expiresAt"),
        (with("track", "smtp".into()), "track: expected"),
        (with("track", json!(null)), "track: expected"),
        (with("op", "credential.drop".into()), "op: expected"),
        (with("op", "".into()), "op: expected"),
    ];
    let count = cases.len();
    for (event, reason) in cases {
        attacked.declined(&event, reason).await;
    }
    attacked.unharmed(count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allow_list_with_one_invalid_rule_is_refused_as_a_whole() {
    let mut attacked = Attacked::new().await;
    let bad = [
        json!(["10.0.0.1", "10.0.0.0/33"]),
        json!(["::ffff:10.0.0.0/104"]),
        json!(["10.0.0"]),
        json!([""]),
        json!([7]),
        json!([null]),
        json!([["10.0.0.1"]]),
        json!("10.0.0.1"),
        json!(7),
        json!(null),
        json!({}),
    ];
    let count = bad.len();
    for rules in bad {
        let event = payload(json!({"secretHash": hash_of(1), "allowedIps": rules}));
        attacked.declined(&event, "payload.allowedIps").await;
    }
    // A credential that has a list keeps it through all of this.
    let good = payload(json!({"secretHash": hash_of(1), "allowedIps": ["10.0.0.1"]}));
    attacked.applied(&good).await;
    let wider = payload(json!({"secretHash": hash_of(2), "allowedIps": ["0.0.0.0/99"]}));
    attacked.declined(&wider, "payload.allowedIps").await;
    let kept = attacked.store.credential("orders").await.unwrap();
    assert_eq!(
        (kept.allowed_ips, kept.secret_hash.expose()),
        (vec!["10.0.0.1".into()], &*hash_of(1))
    );
    assert_eq!(attacked.recorder.refusals().len(), count + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_asked_for_are_never_answered() {
    let mut attacked = Attacked::new().await;
    let answer = |fields: Value| {
        let mut answer = json!({
            "eventId": fresh_id(), "ts": now_ms(), "senderAmqpQueue": "source",
            "propagationSecret": propagation_secret_text("b"), "op": "credential.ack",
        });
        for (name, value) in fields.as_object().unwrap() {
            answer[name] = value.clone();
        }
        answer.to_string().into_bytes()
    };
    for (fields, expected) in [
        (json!({}), Refusal::Invalid),
        (json!({"ackEventId": 7, "ackResult": "applied"}), Refusal::Invalid),
        (json!({"ackEventId": "x", "ackResult": "done"}), Refusal::Invalid),
        // This peer is receive-only: it never asked anything.
        (json!({"ackEventId": fresh_id(), "ackResult": "applied"}), Refusal::UnknownAck),
    ] {
        attacked.dropped(&answer(fields), expected).await;
    }
    attacked.unharmed(4).await;
}
