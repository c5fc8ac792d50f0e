//! `/metrics` of running peers.

use std::time::Instant;

use hmac_propagator_support::{Serve, eventually};
use reqwest::StatusCode;
use serde_json::json;

use crate::peers::{Mesh, SOON, TOKEN, client, start, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_propagation_is_timed_and_counted_at_both_ends() {
    let mesh = Mesh::start().await;
    mesh.ensure("shop", "first secret").await;
    let proven = r#"propagator_acks_total{target="orders",result="applied"}"#;
    mesh.eventually(proven, |count| count == 1.0).await;
    let found = mesh.scrape(&mesh.authority).await;
    let value = |series: &str| *found.get(series).unwrap_or_else(|| panic!("{series}: {found:#?}"));
    assert_eq!(value(r#"propagator_propagation_latency_seconds_count{target="orders"}"#), 1.0);
    let sum = value(r#"propagator_propagation_latency_seconds_sum{target="orders"}"#);
    assert!(sum > 0.0 && sum < SOON.as_secs_f64(), "{sum}");
    // A histogram and no summary: what several peers measured can be added up.
    assert_eq!(
        value(r#"propagator_propagation_latency_seconds_bucket{target="orders",le="60"}"#),
        1.0
    );
    assert!(!found.keys().any(|series| series.contains("quantile=")));
    assert_eq!(value(r#"propagator_decisions_total{operation="put"}"#), 1.0);
    assert!(value("propagator_sync_duration_seconds_count") >= 1.0);
    assert_eq!(value("propagator_ready"), 1.0);
    assert_eq!(value("propagator_database_up"), 1.0);
    assert_eq!(value(r#"propagator_broker_connects_total{link="consumer"}"#), 1.0);
    mesh.eventually(r#"propagator_oldest_unacked_event_seconds{target="orders"}"#, |age| {
        age == 0.0
    })
    .await;

    let found = mesh.scrape(&mesh.target).await;
    let applied = r#"propagator_events_applied_total{source="authority",operation="put"}"#;
    assert_eq!(found[applied], 1.0);
    assert!(!found.contains_key("propagator_database_up"), "it has none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_target_owes_is_shown_and_grows_older() {
    let mesh = Mesh::start().await;
    let body = json!({"targetAmqpQueue": "away", "propagationSecret": "secret-of-away"});
    assert_eq!(mesh.post("/admin/targets", body).await.status(), StatusCode::CREATED);
    let body = json!({"clientId": "shop", "secret": "s", "targets": ["away"]});
    assert_eq!(mesh.post("/admin/ensure", body).await.status(), StatusCode::CREATED);
    mesh.eventually(r#"propagator_target_rows{target="away",state="in_flight"}"#, |n| n == 1.0)
        .await;
    mesh.eventually(r#"propagator_oldest_unacked_event_seconds{target="away"}"#, |age| age > 1.0)
        .await;
    // Nobody consumes it.
    mesh.eventually(r#"propagator_queue_messages{queue="away"}"#, |waiting| waiting == 1.0).await;
    let found = mesh.scrape(&mesh.authority).await;
    assert_eq!(found[r#"propagator_queue_messages{queue="authority"}"#], 0.0);
    assert_eq!(found[r#"propagator_target_rows{target="orders",state="in_flight"}"#], 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_message_and_a_lost_connection_are_counted() {
    let mesh = Mesh::start().await;
    let queues = mesh.vhost.queues().await.unwrap();
    queues.publish("hmac-authority.queue", b"no event").await.unwrap();
    let refused = r#"propagator_messages_refused_total{reason="malformed"}"#;
    mesh.eventually(refused, |count| count == 1.0).await;
    let found = mesh.scrape(&mesh.authority).await;
    assert_eq!(found["propagator_messages_refused_not_kept_total"], 0.0);
    mesh.authority.redis().pause().await.unwrap();
    queues.publish("hmac-authority.queue", b"no event").await.unwrap();
    mesh.eventually("propagator_messages_refused_not_kept_total", |count| count == 1.0).await;
    mesh.authority.redis().resume().await.unwrap();
    mesh.vhost.close_connections().await.unwrap();
    for link in ["publisher", "consumer"] {
        let reconnects = format!(r#"propagator_broker_reconnects_total{{link="{link}"}}"#);
        mesh.eventually(&reconnects, |count| count >= 1.0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_answers_soon_and_truly_while_redis_hangs() {
    let mesh = Mesh::start().await;
    mesh.eventually("propagator_redis_up", |up| up == 1.0).await;
    mesh.authority.redis().pause().await.unwrap();
    let started = Instant::now();
    let found = mesh.scrape(&mesh.authority).await;
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    assert_eq!((found["propagator_redis_up"], found["propagator_ready"]), (0.0, 0.0));
    assert_eq!(found["propagator_database_up"], 1.0);
    mesh.authority.redis().resume().await.unwrap();
    mesh.eventually("propagator_ready", |ready| ready == 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_that_were_asked_for_are_counted_and_those_that_failed_as_well() {
    let mesh = Mesh::start().await;
    mesh.ensure("shop", "first secret").await;
    let unknown = mesh.post("/rotate", json!({"secretName": "nobody"})).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    let done = mesh.post("/rotate", json!({"secretName": "shop", "force": true})).await;
    assert_eq!(done.status(), StatusCode::OK);
    let found = mesh.scrape(&mesh.authority).await;
    assert_eq!(found["propagator_rotate_requests_total"], 2.0);
    assert_eq!(found[r#"propagator_rotate_failures_total{status="404"}"#], 1.0);
    assert_eq!(found[r#"propagator_rotate_failures_total{status="409"}"#], 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_still_signs_with_the_old_secret_is_named_up_to_a_hundred_clients() {
    let mesh = Mesh::start_with(&[("OVERLAP", "10m".to_owned())]).await;
    for n in 0..102 {
        mesh.ensure(&format!("client-{n}"), "old").await;
        mesh.ensure(&format!("client-{n}"), "new").await;
    }
    for n in 0..102 {
        sign(&mesh, &format!("client-{n}"), "old").await;
    }
    let found = mesh.scrape(&mesh.authority).await;
    let named = |series: &&String| series.starts_with("propagator_old_key_uses_total");
    assert_eq!(found.keys().filter(named).count(), 101);
    assert_eq!(found[r#"propagator_old_key_uses_total{client="client-0"}"#], 1.0);
    assert_eq!(found[r#"propagator_old_key_uses_total{client="other"}"#], 2.0);
    assert_eq!(found["propagator_requests_accepted_total"], 102.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_for_those_who_hold_the_token() {
    let mesh = Mesh::start().await;
    let answer = mesh.http.get(mesh.authority.url("/metrics")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_the_metrics() {
    let mesh = Mesh::start().await;
    mesh.ensure("shop", "plain-text-secret").await;
    mesh.eventually(r#"propagator_revisions_completed_total{outcome="success"}"#, |n| n >= 1.0)
        .await;
    let text = text(&client(), &mesh.authority).await;
    let secrets = ["plain-text-secret", TOKEN, "pepper-of", "propagation-secret-of"];
    assert!(secrets.iter().all(|secret| !text.contains(secret)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_without_a_token_answers_this_machine() {
    let mesh = Mesh::start().await;
    let alone = start(&mesh.vhost, "alone", false, &[]).await;
    let answer = mesh.http.get(alone.url("/metrics")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    ready(&mesh, &alone).await;
}

async fn ready(mesh: &Mesh, peer: &Serve) {
    eventually(SOON, || async {
        let answer = mesh.http.get(peer.url("/health/ready")).send().await.ok()?;
        (answer.status() == StatusCode::OK).then_some(())
    })
    .await;
}

/// A signed call to the authority itself.
async fn sign(mesh: &Mesh, client: &str, secret: &str) {
    use hmac_propagator::auth::hash_client_secret;
    use hmac_propagator::client::SigningClient;
    use hmac_propagator::id::ClientId;
    use hmac_propagator::secret::{ClientSecret, SecretToken};
    let token = SecretToken::new("pepper-of-authority");
    let hash = hash_client_secret(&ClientSecret::new(secret).unwrap(), &token);
    let signing = SigningClient::fixed(mesh.http.clone(), ClientId::new(client).unwrap(), &hash);
    let request = mesh.http.get(mesh.authority.url("/api/echo")).build().unwrap();
    let answer = signing.execute(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}
