//! An axum server behind the layer, and what speaks to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::ConnectInfo;
use axum::routing::{any, get};
use axum::{Extension, Router};
use hmac_propagator::auth::{CanonicalPath, SignedHeaders, SigningKey};
use hmac_propagator::clock::SystemClock;
use hmac_propagator::entropy::OsEntropy;
use hmac_propagator::http::HmacLayer;
use hmac_propagator::id::{ClientId, Track};
use hmac_propagator::secret::SecretHash;
use hmac_propagator::state::{Key, MemoryState, StateStore, Transaction, Write};
use hmac_propagator::store::MemoryCredentialStore;
use hmac_propagator::verify::{Verified, Verifier};
use tokio::task::AbortHandle;

/// Credentials in memory.
#[derive(Clone, Default)]
pub struct Memory {
    state: MemoryState,
}

impl Memory {
    pub async fn with(client: &str, digit: char) -> Self {
        let memory = Self::default();
        memory.put(client, digit, "[]").await;
        memory
    }

    pub async fn put(&self, client: &str, digit: char, allowed_ips: &str) {
        let hash = hash(digit);
        let record = format!(r#"{{"secretHash":"{}","allowedIps":{allowed_ips}}}"#, hash.expose());
        let write = Write::set(Key::field("hmac:http:clients", client), record);
        self.state.commit(&[Transaction::default().write(write)]).await.unwrap();
    }

    pub fn wipe(&self) {
        self.state.wipe();
    }

    pub fn store(&self) -> MemoryCredentialStore {
        MemoryCredentialStore::new(self.state.clone(), Track::Http, "hmac:http")
    }

    pub fn layer(&self) -> HmacLayer {
        HmacLayer::new(Verifier::new(self.store()))
            .peer(|parts| Some(parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()))
    }
}

pub fn hash(digit: char) -> SecretHash {
    SecretHash::parse(&digit.to_string().repeat(64)).unwrap()
}

pub fn client_id(id: &str) -> ClientId {
    ClientId::new(id).unwrap()
}

/// The headers of a request, signed now.
pub fn signed(
    client: &str,
    digit: char,
    method: &str,
    target: &str,
    body: &[u8],
) -> [(&'static str, String); 4] {
    let (key, path) = (SigningKey::from_hash(&hash(digit)), CanonicalPath::new(target).unwrap());
    SignedHeaders::sign(&key, method, &path, body, &SystemClock, &OsEntropy).with_client(client)
}

/// Answers with the client, a space and the body. Counts all requests that reach the server.
pub fn app(layer: HmacLayer) -> Router {
    let echo = |Extension(verified): Extension<Verified>, body: String| async move {
        format!("{} {body}", verified.client_id)
    };
    Router::new().route("/", any(echo)).route("/{*path}", any(echo)).layer(layer)
}

/// A server on a port of its own.
pub struct Server {
    pub address: SocketAddr,
    pub requests: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Server {
    pub async fn start(app: Router) -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = requests.clone();
        let count = axum::middleware::map_request(move |request: axum::extract::Request| {
            counter.fetch_add(1, Ordering::SeqCst);
            async move { request }
        });
        let app = app.layer(count).route("/health", get(|| async { "up" }));
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, requests, task: task.abort_handle() }
    }

    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Status and body of an answer.
pub async fn answer(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    (status, response.text().await.unwrap())
}
