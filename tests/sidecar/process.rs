//! A `propagator serve` of its own for a test.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac_propagator_support::{Broker, Proxy, Redis, Scratch, Vhost, eventually};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

pub const TOKEN: &str = "t0ken-of-the-operator";
/// Longest wait for what should happen at once.
pub const SOON: Duration = Duration::from_secs(20);

/// A virtual host on the broker, for the peers of one test.
pub struct Mesh {
    pub vhost: Vhost,
    _broker: Broker,
}

impl Mesh {
    pub async fn new() -> Self {
        let broker = Broker::start().await.unwrap();
        Self { vhost: broker.vhost().await.unwrap(), _broker: broker }
    }

    /// A full peer that syncs only when asked.
    pub async fn full(&self, name: &str) -> Spec {
        self.receive_only(name).await.deciding()
    }

    /// "authority", a full peer that reaches the broker through a proxy.
    pub async fn full_via(&self, proxy: &Proxy) -> Spec {
        Spec::new("authority", &self.vhost.url_via(proxy.address())).await.deciding()
    }

    /// A proxy before the broker.
    pub async fn proxy(&self) -> Proxy {
        let real = reqwest::Url::parse(&self.vhost.url()).unwrap();
        let address = format!("{}:{}", real.host_str().unwrap(), real.port().unwrap());
        Proxy::start(address.parse().unwrap()).await.unwrap()
    }

    /// A peer without a database.
    pub async fn receive_only(&self, name: &str) -> Spec {
        Spec::new(name, &self.vhost.url()).await
    }
}

/// How a peer is to be started.
pub struct Spec {
    pub environment: BTreeMap<&'static str, String>,
    pub redis: Redis,
    pub scratch: Scratch,
}

impl Spec {
    /// Over a broker's URL, which a proxy may stand before.
    pub async fn new(name: &str, url: &str) -> Self {
        let url = reqwest::Url::parse(url).unwrap();
        let redis = Redis::start().await.unwrap();
        let environment = BTreeMap::from([
            ("AMQP_HOST", url.host_str().unwrap().to_owned()),
            ("AMQP_PORT", url.port().unwrap().to_string()),
            ("AMQP_USER", url.username().to_owned()),
            ("AMQP_PASSWORD", url.password().unwrap().to_owned()),
            ("AMQP_VHOST", url.path().trim_start_matches('/').to_owned()),
            ("AMQP_QUEUE", name.to_owned()),
            ("PROPAGATION_SECRET", propagation_secret(name)),
            ("HMAC_SECRET_TOKEN", format!("pepper-of-{name}")),
            ("REDIS_URL", redis.url()),
            ("ADMIN_TOKEN", TOKEN.to_owned()),
            ("SYNC_INTERVAL", "0".to_owned()),
            ("PORT", "0".to_owned()),
        ]);
        Self { environment, redis, scratch: Scratch::new().unwrap() }
    }

    /// With a database of its own.
    fn deciding(self) -> Self {
        let database = self.scratch.path().join("peer.db");
        self.set("DATABASE_URL", format!("sqlite:{}", database.display()))
    }

    pub fn set(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.environment.insert(key, value.into());
        self
    }

    pub fn without(mut self, key: &'static str) -> Self {
        self.environment.remove(key);
        self
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_propagator"));
        command.arg("serve").env_clear().envs(&self.environment).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it and waits until it listens.
    pub async fn start(self) -> Peer {
        let port_file = self.scratch.path().join("port");
        let _ = std::fs::remove_file(&port_file);
        let mut child = self.command().arg("--port-file").arg(&port_file).spawn().unwrap();
        let said = Said::default();
        said.follow(child.stdout.take().unwrap());
        said.follow(child.stderr.take().unwrap());
        let port = eventually(SOON, || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended with {ended:?}:\n{}", said.text());
            let read = std::fs::read_to_string(&port_file).ok();
            async move { read.map(|text| text.trim().parse::<u16>().unwrap()) }
        });
        let url = format!("http://127.0.0.1:{}", port.await);
        Peer { http: client(), url, said, child, spec: self }
    }

    /// Starts it and waits until it can do its work.
    pub async fn ready(self) -> Peer {
        let peer = self.start().await;
        eventually(SOON, || async {
            (peer.get("/health/ready").await.status == 200).then_some(())
        })
        .await;
        peer
    }
}

/// A running peer. Ends with the value.
pub struct Peer {
    pub http: reqwest::Client,
    pub url: String,
    pub said: Said,
    pub child: Child,
    pub spec: Spec,
}

/// Bodies of JSON.
pub trait WithJson {
    fn with_json(self, body: &Value) -> Self;
}

impl WithJson for reqwest::RequestBuilder {
    fn with_json(self, body: &Value) -> Self {
        self.header(reqwest::header::CONTENT_TYPE, "application/json").body(body.to_string())
    }
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    /// The body, of an answer with this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The message, of a refusal with this status and code.
    #[track_caller]
    pub fn refuses(self, status: u16, code: &str) -> String {
        assert_eq!((self.status, self.body["error"].as_str()), (status, Some(code)), "{self:?}");
        self.body["message"].as_str().unwrap().to_owned()
    }

    async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, headers, body }
    }
}

impl Peer {
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(TOKEN)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).with_json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        Answer::of(request.send().await.unwrap()).await
    }

    /// Adds other peers to the directory.
    pub async fn knows(&self, names: &[&str]) {
        for name in names {
            let target =
                json!({"targetAmqpQueue": name, "propagationSecret": propagation_secret(name)});
            self.post("/admin/targets", target).await.is(201);
        }
    }

    /// The pivot of a client and a target.
    pub async fn pivot(&self, client: &str, target: &str) -> Option<Value> {
        let state = self.get("/admin/state").await.is(200);
        let mut pivots = state["pivots"].as_array().unwrap().iter();
        pivots
            .find(|pivot| pivot["clientId"] == client && pivot["targetAmqpQueue"] == target)
            .cloned()
    }

    /// Waits until a pivot has a status.
    pub async fn settled(&self, client: &str, target: &str, status: &str) -> Value {
        eventually(SOON, || async {
            self.pivot(client, target).await.filter(|pivot| pivot["status"] == status)
        })
        .await
    }

    /// The record that its Redis holds.
    pub async fn record(&self, client: &str) -> Option<Value> {
        let record: Option<String> =
            self.spec.redis.command(&["HGET", "hmac:http:clients", client]).await.unwrap();
        Some(serde_json::from_str(&record?).unwrap())
    }

    /// The hash that its Redis holds.
    pub async fn hash(&self, client: &str) -> Option<String> {
        let record = self.record(client).await?;
        Some(record["secretHash"].as_str().unwrap().to_owned())
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it ended, and tells with what code.
    pub async fn ended(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(SOON, self.child.wait()).await;
        ended.expect("it did not end").unwrap().code()
    }
}

/// Where nobody listens: a port that a test may get would be somebody's soon.
pub const NOWHERE: &str = "127.0.0.1:1";

/// A Redis that is away. Its port is kept, so that no other test's Redis comes to stand there.
pub struct Away(tokio::task::JoinHandle<()>);

impl Away {
    pub async fn take(redis: &Redis) -> Self {
        redis.kill().await.unwrap();
        let listener = tokio::net::TcpListener::bind(redis.address()).await.unwrap();
        Self(tokio::spawn(async move { while listener.accept().await.is_ok() {} }))
    }

    /// Gives the port back.
    pub async fn end(mut self) {
        self.0.abort();
        assert!((&mut self.0).await.unwrap_err().is_cancelled());
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a process wrote.
#[derive(Clone, Default)]
pub struct Said(Arc<Mutex<String>>);

impl Said {
    pub fn follow(&self, output: impl AsyncRead + Unpin + Send + 'static) {
        let said = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let mut text = said.0.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
    }

    pub fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

pub fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.timeout(SOON).build().unwrap()
}

pub fn propagation_secret(name: &str) -> String {
    format!("propagation-secret-of-{name}")
}
