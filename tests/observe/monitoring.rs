//! The dashboard and the alerts speak of metrics that there are.

use std::collections::BTreeSet;
use std::path::Path;

use hmac_propagator::auth::hash_client_secret;
use hmac_propagator::client::SigningClient;
use hmac_propagator::id::ClientId;
use hmac_propagator::secret::{ClientSecret, SecretToken};
use hmac_propagator_support::lapin::types::FieldTable;
use hmac_propagator_support::{Serve, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::peers::{Mesh, SOON, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_and_the_alerts_name_only_metrics_of_a_real_scrape() {
    let mesh = Mesh::start_with(&[("OVERLAP", "10m".to_owned())]).await;
    mesh.ensure("shop", "first").await;
    mesh.ensure("shop", "second").await;
    call(&mesh, "shop", "first").await;
    fail_a_delivery(&mesh).await;
    make_the_target_retry(&mesh).await;
    let mut exported = BTreeSet::new();
    for peer in [&mesh.authority, &mesh.target] {
        exported.extend(types(&text(&mesh.http, peer).await));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring");
    let dashboard = std::fs::read_to_string(folder.join("grafana-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut wanted = BTreeSet::new();
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
        let names = names(target["expr"].as_str().unwrap());
        assert!(!names.is_empty(), "{target}");
        wanted.extend(names);
    }
    assert!(wanted.len() > 15, "{wanted:?}");
    let alerts = std::fs::read_to_string(folder.join("alerts.yml")).unwrap();
    let in_alerts = names(&alerts);
    assert!(in_alerts.len() > 8, "{in_alerts:?}");
    wanted.extend(in_alerts);
    let missing: Vec<_> = wanted.difference(&exported).collect();
    assert!(missing.is_empty(), "{missing:?} of {exported:#?}");
}

/// The metrics of a scrape, by their `TYPE` lines.
fn types(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// The metrics that a text names; parts of a histogram stand for the whole.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("propagator_"));
    ours.map(|word| {
        let whole = ["_bucket", "_count", "_sum"].iter().find_map(|part| word.strip_suffix(part));
        whole.filter(|whole| whole.ends_with("_seconds")).unwrap_or(word).to_owned()
    })
    .collect()
}

async fn call(mesh: &Mesh, client: &str, secret: &str) {
    let token = SecretToken::new("pepper-of-authority");
    let hash = hash_client_secret(&ClientSecret::new(secret).unwrap(), &token);
    let signing = SigningClient::fixed(mesh.http.clone(), ClientId::new(client).unwrap(), &hash);
    let request = mesh.http.get(mesh.authority.url("/api/echo")).build().unwrap();
    assert_eq!(signing.execute(request).await.unwrap().status(), StatusCode::OK);
}

/// A queue that cannot be declared as the contract has it.
async fn fail_a_delivery(mesh: &Mesh) {
    let mut other = FieldTable::default();
    other.insert("x-max-length".into(), 1_i32.into());
    let queues = mesh.vhost.queues().await.unwrap();
    queues.declare_with("hmac-odd.queue", other).await.unwrap();
    let body = json!({"targetAmqpQueue": "odd", "propagationSecret": "secret-of-odd"});
    assert_eq!(mesh.post("/admin/targets", body).await.status(), StatusCode::CREATED);
    let body = json!({"clientId": "odd", "secret": "s", "targets": ["odd"]});
    assert_eq!(mesh.post("/admin/ensure", body).await.status(), StatusCode::CREATED);
    let failures = r#"propagator_delivery_failures_total{target="odd",retry="yes"}"#;
    mesh.eventually(failures, |count| count >= 1.0).await;
}

/// A Redis that cannot be written to: what arrives is kept and tried again.
async fn make_the_target_retry(mesh: &Mesh) {
    let redis = mesh.target.redis();
    redis.set_read_only(true).await.unwrap();
    mesh.ensure("late", "secret").await;
    retried(mesh, &mesh.target).await;
    redis.set_read_only(false).await.unwrap();
    eventually(SOON, || async {
        let held: bool = redis.command(&["HEXISTS", "hmac:http:clients", "late"]).await.unwrap();
        held.then_some(())
    })
    .await;
}

async fn retried(mesh: &Mesh, peer: &Serve) {
    eventually(SOON, || async {
        let found = mesh.scrape(peer).await;
        found.keys().any(|series| series.starts_with("propagator_retries_total")).then_some(())
    })
    .await;
}
