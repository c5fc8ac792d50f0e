//! No secret in any output: logs at every level, errors, `Debug`, Redis, the wire.
//!
//! One test in a process of its own, because what it captures is the whole process's output. Raw
//! AMQP clients of the tests would log bodies themselves, so the wire is read at the port.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests")]
#![allow(unreachable_pub, dead_code, unused_imports, reason = "shares helpers with other tests")]

mod capture;
#[path = "../propagation/help/mod.rs"]
mod help;
#[path = "../propagation/mesh.rs"]
mod mesh;
mod telling;

use std::fmt::Debug;

use capture::{Logged, Tap};
use help::Recorder;
use hmac_propagator::broker::BrokerOptions;
use hmac_propagator::event::{Event, Link};
use hmac_propagator::id::Track;
use hmac_propagator::management::Outcome;
use hmac_propagator::propagator::{Builder, Ensure, Propagator, Revoke, Rotate};
use hmac_propagator::secret::{BrokerPassword, PropagationSecret, SecretToken};
use hmac_propagator::state::RedisState;
use hmac_propagator::store::{AllowedIps, Change, CredentialStore, Expiry, VersionedChange};
use hmac_propagator_support::{Redis, eventually};
use mesh::{
    Mesh, SOON, Store, broker_options, client_id, complete, peer, propagation_secret,
    propagation_secret_text, queue, ready, secret, seen,
};
use telling::Telling;

const PLAIN: [&str; 3] = ["plain-s3cret-one", "plain-s3cret-two", "plain-s3cret-three"];
const WRONG_PASSWORD: &str = "wr0ng-br0ker-pa55";
const REDIS_PASSWORD: &str = "r3dis-pa55";
const WRONG_PROPAGATION: &str = "wr0ng-pr0pagation-secret";

/// Whether a text shows a secret, as it is or as the list of bytes that `Debug` makes of it.
fn shows(text: &str, secret: &str) -> bool {
    let bytes = format!("{:?}", secret.as_bytes());
    text.contains(secret) || text.contains(bytes.trim_matches(['[', ']']))
}

fn assert_hidden<'a>(place: &str, text: &str, secrets: impl IntoIterator<Item = &'a String>) {
    for secret in secrets {
        let at = text.find(secret.as_str()).unwrap_or(0);
        let around: String = text[at..].chars().take(200).collect();
        assert!(!shows(text, secret), "{place} shows `{secret}`: {around}");
    }
}

/// A store whose traffic is kept.
async fn tapped() -> (Store, Tap) {
    let redis = Redis::start().await.unwrap();
    let tap = Tap::on(redis.address()).await;
    let state = RedisState::open(&redis.url_via(tap.address)).unwrap();
    (Store::with(redis, state), tap)
}

/// All keys of a Redis with all they hold.
async fn dump(redis: &Redis) -> String {
    let keys: Vec<String> = redis.command(&["KEYS", "*"]).await.unwrap();
    let mut text = String::new();
    for key in keys {
        let kind: String = redis.command(&["TYPE", &key]).await.unwrap();
        let value: Vec<String> = match kind.as_str() {
            "hash" => redis.command(&["HGETALL", &key]).await.unwrap(),
            "string" => vec![redis.command(&["GET", &key]).await.unwrap()],
            other => panic!("{key}: nothing of type {other} is expected"),
        };
        text += &format!("{key} {value:?}\n");
    }
    text
}

/// An error as it may be printed: itself and all its causes, in both ways.
fn printed(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!("\n{error} {error:?}");
        cause = error.source();
    }
    text
}

struct Run {
    options: BrokerOptions,
    at: Store,
    b: Store,
    told: Telling,
    recorder: Recorder,
    /// What was printed: errors, and `Debug` of what is public.
    shown: String,
    hashes: Vec<String>,
}

impl Run {
    fn show(&mut self, thing: &dyn Debug) {
        self.shown += &format!("{thing:?} {thing:#?}\n");
    }

    fn authority(&self) -> Builder {
        peer(self.options.clone(), "authority", &self.at)
            .management(self.told.clone())
            .hand_over_plain_secrets(true)
            .observer(self.recorder.clone())
    }

    fn target(&self, name: &str, store: &Store) -> Builder {
        peer(self.options.clone(), name, store)
            .source_secret(queue("authority"), propagation_secret("authority"))
            .observer(self.recorder.clone())
    }

    /// The main job, with an outage of the target's Redis and one of the broker's connections.
    async fn main_job(&mut self, authority: &Propagator, mesh: &Mesh) {
        let mut events = authority.events();
        let request = Ensure::new(client_id("orders"), secret(PLAIN[0])).targets([queue("b")]);
        let request = request
            .allowed_ips(AllowedIps::parse(&["10.0.0.0/8"]).unwrap())
            .expires_at(Expiry::At(4_000_000_000_000));
        self.show(&request);
        let ensured = authority.ensure(request).await.unwrap();
        self.show(&ensured);
        let summary = authority.sync().await.unwrap();
        self.show(&summary);
        assert_eq!(complete(&mut events, "orders").await, Outcome::Success);
        self.hashes.extend(self.at.hash("orders").await);

        let request = Rotate::new(client_id("orders"), secret(PLAIN[1]));
        self.show(&request);
        authority.rotate(request).await.unwrap();
        self.hashes.extend(self.at.hash("orders").await);
        self.b.redis.set_read_only(true).await.unwrap();
        authority.sync().await.unwrap();
        eventually(SOON, || async { (self.recorder.retries() > 0).then_some(()) }).await;
        self.b.redis.set_read_only(false).await.unwrap();
        assert_eq!(complete(&mut events, "orders").await, Outcome::Success);
        let credential = self.b.credential("orders").await;
        self.show(&credential);

        mesh.vhost.close_connections().await.unwrap();
        seen(&mut events, |event| {
            matches!(event, Event::Connected { link: Link::Publisher, again: true }).then_some(())
        })
        .await;
        authority.ready().await.unwrap();
    }

    /// Messages that are refused: one target has another propagation secret than the directory says.
    async fn refusals(&mut self, authority: &Propagator, d: &Propagator) {
        let mut events = d.events();
        let request = Ensure::new(client_id("odd"), secret(PLAIN[2])).targets([queue("d")]);
        authority.ensure(request.track(Track::Message)).await.unwrap();
        authority.sync().await.unwrap();
        let refused = seen(&mut events, |event| {
            matches!(event, Event::Refused { .. }).then(|| event.clone())
        });
        let refused = refused.await;
        self.show(&refused);
        let kept = eventually(SOON, || async {
            let kept = d.refused_messages(10).await.unwrap();
            (!kept.is_empty()).then_some(kept)
        })
        .await;
        assert!(kept[0].message.as_ref().unwrap().contains("odd"), "{kept:?}");
        self.show(&kept);
        let odd = self.at.message.get(&client_id("odd")).await.unwrap();
        self.hashes.extend(odd.map(|odd| odd.secret_hash.expose().to_owned()));
        authority.revoke(Revoke::new(client_id("odd")).track(Track::Message)).await.unwrap();
    }

    async fn errors(&mut self, authority: &Propagator) {
        let ensure =
            |target| Ensure::new(client_id("failing"), secret(PLAIN[2])).targets([queue(target)]);
        let unknown = authority.ensure(ensure("nobody")).await.unwrap_err();
        let own = authority.ensure(ensure("authority")).await.unwrap_err();
        self.at.redis.kill().await.unwrap();
        let store = authority.ensure(ensure("b")).await.unwrap_err();
        let sync = authority.sync().await.unwrap_err();
        let status = authority.status().await;
        self.show(&status);
        self.at.redis.restart().await.unwrap();

        let mut options = self.options.clone();
        options.password = BrokerPassword::new(WRONG_PASSWORD);
        options.connect_deadline = std::time::Duration::from_secs(1);
        self.show(&options);
        let start = peer(options, "x", &self.b).fail_fast(true).start().await.unwrap_err();
        let url = format!("redis://:{REDIS_PASSWORD}@[");
        let redis = RedisState::open(&url).unwrap_err();
        for error in [unknown, own, store, sync, start, redis] {
            self.shown += &printed(&error);
        }
    }

    fn debugs(&mut self, authority: &Propagator) {
        let change = VersionedChange {
            client_id: client_id("orders"),
            version: hmac_propagator::cursor::Cursor {
                ts: hmac_propagator::cursor::Timestamp::new(1.0).unwrap(),
                event_id: hmac_propagator::id::EventId::new("e").unwrap(),
                source: Some(queue("authority")),
            },
            change: Change::Put {
                secret_hash: hmac_propagator::secret::SecretHash::parse(&self.hashes[0]).unwrap(),
                allowed_ips: None,
                expires_at: Expiry::Keep,
            },
        };
        let builder = self.authority();
        let (memory, events) = (self.told.inner.clone(), self.recorder.events());
        // The adapter's own `Debug` shows the plain secrets: a peer must not print it with its own.
        assert!(shows(&format!("{:?}", self.told), PLAIN[0]));
        let things: [&dyn Debug; 11] = [
            &builder,
            authority,
            &memory,
            &events,
            &change,
            &self.at.state.clone(),
            &self.at.http.clone(),
            &secret(PLAIN[0]),
            &propagation_secret("b"),
            &SecretToken::new("pepper of authority"),
            &self.options.clone(),
        ];
        for thing in things {
            self.show(thing);
        }
    }
}

/// A management side that did not ask gets hashes only.
async fn not_handed_over_unasked(mesh: &Mesh) {
    let store = Store::start().await;
    let told = Telling::new(mesh::directory_of(&["b"]));
    let authority = ready(mesh.peer("authority", &store).management(told.clone())).await;
    let request = Ensure::new(client_id("orders"), secret(PLAIN[0])).targets([queue("b")]);
    authority.ensure(request).await.unwrap();
    authority.rotate(Rotate::new(client_id("orders"), secret(PLAIN[1]))).await.unwrap();
    assert_eq!(told.plain(), Vec::<String>::new());
    assert!(!told.inner.credential(&mesh::key("orders")).unwrap().keeps_plain_secret);
    authority.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_shows_a_secret_and_the_plain_one_goes_nowhere_but_to_who_asked_for_it() {
    let mesh = Mesh::new().await;
    not_handed_over_unasked(&mesh).await;
    let ((at, at_tap), (b, b_tap)) = (tapped().await, tapped().await);
    let d = Store::start().await;
    let real = mesh.options();
    let wire = Tap::on(format!("{}:{}", real.host, real.port).parse().unwrap()).await;
    let options = broker_options(&mesh.vhost.url_via(wire.address));
    let management = mesh::directory_of(&["b"]);
    let wrong = PropagationSecret::new(WRONG_PROPAGATION).unwrap();
    management.add_target(queue("d"), wrong);
    let told = Telling::new(management);
    let logged = Logged::default();
    tracing::subscriber::set_global_default(logged.clone()).unwrap();

    let (recorder, shown) = (Recorder::default(), String::new());
    let mut run = Run { options, at, b, told, recorder, shown, hashes: Vec::new() };
    let authority = ready(run.authority()).await;
    let target = ready(run.target("b", &run.b)).await;
    let other = ready(run.target("d", &d)).await;
    run.main_job(&authority, &mesh).await;
    run.refusals(&authority, &other).await;
    let in_redis = dump(&run.at.redis).await + &dump(&run.b.redis).await + &dump(&d.redis).await;
    run.errors(&authority).await;
    run.debugs(&authority);
    for peer in [&authority, &target, &other] {
        peer.close().await;
    }

    let plain: Vec<String> = PLAIN.iter().map(|&text| text.to_owned()).collect();
    let peppers: Vec<String> =
        ["authority", "b", "d"].iter().map(|name| format!("pepper of {name}")).collect();
    let mut propagation: Vec<String> =
        ["authority", "b", "d"].iter().map(|name| propagation_secret_text(name)).collect();
    propagation.push(WRONG_PROPAGATION.into());
    let password = mesh.options().password.expose().to_owned();
    let passwords = vec![password, WRONG_PASSWORD.into(), REDIS_PASSWORD.into()];
    let never = || plain.iter().chain(&peppers);

    let logs = logged.text();
    for (place, text) in [("a log", &logs), ("output", &run.shown), ("Debug", &run.told.text())] {
        let all = never().chain(&propagation).chain(&passwords).chain(&run.hashes);
        assert_hidden(place, text, all);
    }
    for (place, text) in [("Redis", &in_redis), ("Redis", &at_tap.text()), ("Redis", &b_tap.text())]
    {
        assert_hidden(place, text, never().chain(&propagation).chain(&passwords));
    }
    assert_hidden("the wire", &wire.text(), never());

    // What was looked at holds what it should: none of this passes for want of output.
    assert!(logs.contains("refused a message") && logs.contains("is tried again"), "{logs}");
    assert!(logs.contains("TRACE") || logs.contains("DEBUG"));
    for text in [&in_redis, &at_tap.text(), &b_tap.text(), &wire.text()] {
        assert!(shows(text, &run.hashes[1]), "the second hash is current");
    }
    for secret in &propagation[..2] {
        assert!(shows(&wire.text(), secret));
    }
    // The management side asked for the plain secrets, got each and cleared what was delivered.
    assert_eq!(run.told.plain()[..3], plain[..]);
    let key = mesh::key("orders");
    assert!(!run.told.inner.credential(&key).unwrap().keeps_plain_secret);
}
