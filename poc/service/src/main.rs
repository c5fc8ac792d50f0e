//! A small service that counts the calls of each of its clients, and answers those only who sign their
//! requests. It embeds the library: its credentials arrive over RabbitMQ, and it decides none.

mod settings;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Extension, Json, Router};
use hmac_propagator::http::HmacLayer;
use hmac_propagator::id::{ClientId, Track};
use hmac_propagator::propagator::Propagator;
use hmac_propagator::state::RedisState;
use hmac_propagator::store::RedisCredentialStore;
use hmac_propagator::verify::{Verified, Verifier};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use settings::Settings;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when this fails.
            let _ = writeln!(std::io::stderr(), "poc-service: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<()> {
    let Settings { address, broker, queue, secret, source, redis_url } = Settings::read()?;
    let state = RedisState::open(&redis_url)?;
    let store = RedisCredentialStore::new(state.clone(), Track::Http, "hmac:http");
    // Receive-only, because it is built without a management side. It signs its answers, because it
    // knows the propagation secret of the peer that decides.
    let peer = Propagator::builder(broker, queue, secret, state)
        .credential_store(store.clone())
        .source_secret(source.queue, source.secret)
        .start()
        .await?;
    let app = router(Verifier::new(store), peer.clone());
    let listener = TcpListener::bind(address).await?;
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(told_to_stop()?)
        .await?;
    // After the last answer: it finishes what it has taken from its queue.
    peer.close().await;
    Ok(())
}

fn router(verifier: Verifier, peer: Propagator) -> Router {
    let signed = HmacLayer::new(verifier)
        .peer(|parts| Some(parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()));
    let counted = Router::new().route("/calls", get(calls)).route_layer(signed);
    let open = Router::new().route("/health/ready", get(ready)).with_state(peer);
    counted.with_state(Calls::default()).merge(open)
}

/// How often each client has called since the start.
type Calls = Arc<Mutex<BTreeMap<ClientId, u64>>>;

/// Only requests that are signed rightly come here.
async fn calls(State(calls): State<Calls>, Extension(caller): Extension<Verified>) -> Json<Value> {
    let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
    let count = calls.entry(caller.client_id.clone()).or_default();
    *count += 1;
    Json(json!({ "clientId": caller.client_id.as_str(), "calls": *count }))
}

async fn ready(State(peer): State<Propagator>) -> StatusCode {
    match peer.status().await.is_ready() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Ends with SIGTERM or SIGINT.
fn told_to_stop() -> Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
