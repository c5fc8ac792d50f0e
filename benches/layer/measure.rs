//! What the layer costs end to end: an axum service on loopback with and without it, under the same
//! load, with the credentials and nonces in a Redis of its own.
//!
//! The load comes from the same machine, over 64 connections, one request after the other on each.
//! All requests are signed beforehand, and both services get the same ones, so that only the layer
//! differs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use hmac_propagator::auth::{CanonicalPath, SignedHeaders, SigningKey};
use hmac_propagator::clock::SystemClock;
use hmac_propagator::credentials::{Credentials, NewCredential};
use hmac_propagator::entropy::OsEntropy;
use hmac_propagator::http::HmacLayer;
use hmac_propagator::id::{ClientId, Track};
use hmac_propagator::secret::SecretToken;
use hmac_propagator::state::{RedisOptions, RedisState};
use hmac_propagator::store::RedisCredentialStore;
use hmac_propagator::verify::Verifier;
use hmac_propagator_support::Redis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::report::{Figures, Report, number};

const CONNECTIONS: usize = 64;
const PER_CONNECTION: usize = 300;
const TARGET: &str = "/v1/orders?dry=1";
const BODY: &[u8] = br#"{"orderId":"8d3f-11","items":[{"sku":"x-1","count":2}],"currency":"EUR"}"#;

/// Measures and reports under a bench's name.
#[tokio::main]
pub async fn measure(bench: &'static str) {
    let redis = Redis::start().await.unwrap();
    // On a machine with other work on it a second may pass; a refusal would end the bench.
    let mut options = RedisOptions::default();
    options.response_timeout = Duration::from_secs(20);
    let state = RedisState::open_with(&redis.url(), options).unwrap();
    let store = RedisCredentialStore::new(state, Track::Http, "hmac:http");
    let client = ClientId::new("orders").unwrap();
    let credentials = Credentials::new(store.clone(), SecretToken::default());
    let _ = credentials.create(NewCredential::new(client.clone())).await.unwrap();
    let key = SigningKey::from_hash(&credentials.get(&client).await.unwrap().secret_hash);

    let service = || Router::new().route("/v1/orders", post(|body: String| async { body }));
    let bare = serve(service()).await;
    let layered = serve(service().layer(HmacLayer::new(Verifier::new(store)))).await;

    run(layered, requests(&key, 2)).await;
    let (mut bares, mut layereds, mut shares, mut all_trips) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..number("--runs").unwrap_or(7) {
        let (plain, load) = (requests(&key, PER_CONNECTION), requests(&key, PER_CONNECTION));
        let plain = run(bare, plain).await;
        let () = redis.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
        let signed = run(layered, load).await;
        all_trips.push(round_trips(&redis).await);
        shares.push(100.0 * signed / plain);
        bares.push(plain);
        layereds.push(signed);
    }
    let mut report = Report::of(bench);
    report.line("requests without the layer", "/s", &Figures::of(bares), "");
    report.line("requests with it", "/s", &Figures::of(layereds), "");
    report.line("share", "%", &Figures::of(shares), "goal: 60");
    let trips = Figures::of(all_trips);
    report.line("Redis round trips of a request", "", &trips, "shared by those at the same time");
    report.end();
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// For each connection its requests, as bytes.
fn requests(key: &SigningKey, per_connection: usize) -> Vec<Vec<Vec<u8>>> {
    let path = CanonicalPath::new(TARGET).unwrap();
    let request = || {
        let signed = SignedHeaders::sign(key, "POST", &path, BODY, &SystemClock, &OsEntropy);
        let headers =
            signed.with_client("orders").map(|(name, value)| format!("{name}: {value}\r\n"));
        let head = format!(
            "POST {TARGET} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n{}\r\n",
            BODY.len(),
            headers.concat()
        );
        [head.as_bytes(), BODY].concat()
    };
    (0..CONNECTIONS).map(|_| (0..per_connection).map(|_| request()).collect()).collect()
}

/// Sends all, and returns how many were answered in a second. Any answer but 200 ends the bench.
async fn run(address: SocketAddr, load: Vec<Vec<Vec<u8>>>) -> f64 {
    let mut connections = Vec::new();
    for requests in load {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        connections.push((stream, requests));
    }
    let (started, mut count) = (Instant::now(), 0);
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|(stream, requests)| {
            count += requests.len();
            tokio::spawn(converse(stream, requests))
        })
        .collect();
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(60), task).await.unwrap().unwrap();
    }
    #[allow(clippy::cast_precision_loss)]
    let count = count as f64;
    count / started.elapsed().as_secs_f64()
}

async fn converse(mut stream: TcpStream, requests: Vec<Vec<u8>>) {
    let mut buffer = [0; 4096];
    for request in requests {
        stream.write_all(&request).await.unwrap();
        let mut filled = 0;
        // The service answers with what it was sent.
        while !buffer[..filled].ends_with(BODY) {
            let read = stream.read(&mut buffer[filled..]).await.unwrap();
            let so_far = String::from_utf8_lossy(&buffer[..filled]);
            assert!(read > 0, "the server hung up after {so_far}");
            filled += read;
            assert!(buffer.starts_with(b"HTTP/1.1 200") || filled < 12, "{so_far}");
        }
    }
}

/// How often the server read requests since the last reset, per request of the load. Requests that
/// are verified at the same time share a round trip; without company each costs one.
async fn round_trips(redis: &Redis) -> f64 {
    let stats: String = redis.command(&["INFO", "stats"]).await.unwrap();
    let reads = stats.lines().find_map(|line| line.strip_prefix("total_reads_processed:"));
    #[allow(clippy::cast_precision_loss)]
    let requests = (CONNECTIONS * PER_CONNECTION) as f64;
    reads.unwrap().trim().parse::<f64>().unwrap() / requests
}
