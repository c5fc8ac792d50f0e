//! An authority and a target, and how they are spoken to.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hmac_propagator_support::{Broker, Serve, Vhost, eventually};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

pub(crate) const TOKEN: &str = "admin-token-of-the-observers";
/// Longest wait for anything that should happen.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) struct Mesh {
    pub(crate) authority: Serve,
    pub(crate) target: Serve,
    pub(crate) http: Client,
    pub(crate) vhost: Vhost,
    _broker: Broker,
}

impl Mesh {
    /// `authority` decides, `orders` is its only target.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(environment: &[(&'static str, String)]) -> Self {
        let broker = Broker::start().await.unwrap();
        let vhost = broker.vhost().await.unwrap();
        let mut variables = vec![("ADMIN_TOKEN", TOKEN.to_owned())];
        variables.extend_from_slice(environment);
        let authority = start(&vhost, "authority", true, &variables).await;
        let target = start(&vhost, "orders", false, &variables).await;
        let mesh = Self { authority, target, http: client(), vhost, _broker: broker };
        let body = json!({
            "targetAmqpQueue": "orders",
            "propagationSecret": Serve::propagation_secret("orders"),
            "receiveOnly": true,
        });
        assert_eq!(mesh.post("/admin/targets", body).await.status(), StatusCode::CREATED);
        mesh
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Response {
        let request = self.http.post(self.authority.url(path)).bearer_auth(TOKEN);
        let request = request.header("content-type", "application/json").body(body.to_string());
        request.send().await.unwrap()
    }

    pub(crate) async fn ensure(&self, client: &str, secret: &str) {
        let body = json!({"clientId": client, "secret": secret, "targets": ["orders"]});
        let answer = self.post("/admin/ensure", body).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
    }

    /// Waits until a metric of the authority has a value that is wanted.
    pub(crate) async fn eventually(&self, series: &str, wanted: impl Fn(f64) -> bool) {
        eventually(SOON, || async {
            let found = self.scrape(&self.authority).await;
            found.get(series).is_some_and(|value| wanted(*value)).then_some(())
        })
        .await;
    }

    pub(crate) async fn scrape(&self, peer: &Serve) -> BTreeMap<String, f64> {
        series(&text(&self.http, peer).await)
    }
}

pub(crate) async fn start(
    vhost: &Vhost,
    name: &str,
    decides: bool,
    environment: &[(&'static str, String)],
) -> Serve {
    let binary = Path::new(env!("CARGO_BIN_EXE_propagator"));
    Serve::start(binary, vhost, name, decides, environment).await.unwrap()
}

pub(crate) fn client() -> Client {
    // Servers of the test only: nothing of the machine's own settings.
    Client::builder().no_proxy().build().unwrap()
}

pub(crate) async fn text(http: &Client, peer: &Serve) -> String {
    let answer = http.get(peer.url("/metrics")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    answer.text().await.unwrap()
}

/// Each series by its name with its labels.
pub(crate) fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}
