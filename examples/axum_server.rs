//! A service that lets only signed requests through.
//!
//! ```sh
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example axum_server --features tower
//! ```
//!
//! At its first start it makes a credential for the client `demo` and shows the secret, once. Call it
//! with the example `signed_client`.

#![allow(clippy::print_stdout)]

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use axum::{Extension, Router};
use hmac_propagator::credentials::{Credentials, NewCredential};
use hmac_propagator::error::ErrorKind;
use hmac_propagator::http::HmacLayer;
use hmac_propagator::id::{ClientId, Track};
use hmac_propagator::secret::SecretToken;
use hmac_propagator::state::RedisState;
use hmac_propagator::store::RedisCredentialStore;
use hmac_propagator::verify::{Verified, Verifier};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let redis = std::env::var("REDIS_URL").map_err(|_| "set REDIS_URL")?;
    let address = std::env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let token = SecretToken::new(std::env::var("SECRET_TOKEN").unwrap_or_default());
    let store = RedisCredentialStore::new(RedisState::open(&redis)?, Track::Http, "hmac:http");
    introduce_client(&Credentials::new(store.clone(), token)).await?;

    let layer = HmacLayer::new(Verifier::builder(store).overlap(true).build())
        .peer(|parts| Some(parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()));
    let app = Router::new()
        .route("/echo", post(echo))
        .layer(layer)
        .route("/health", get(|| async { "up" }));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

async fn echo(Extension(caller): Extension<Verified>, body: String) -> String {
    format!("{} says {body}\n", caller.client_id)
}

async fn introduce_client(
    credentials: &Credentials<RedisState>,
) -> Result<(), Box<dyn std::error::Error>> {
    let demo = ClientId::new("demo")?;
    match credentials.get(&demo).await {
        Ok(_) => println!("the client demo has its secret already"),
        Err(error) if error.kind() == ErrorKind::ClientNotFound => {
            let secret = credentials.create(NewCredential::new(demo)).await?.reveal();
            println!("the secret of the client demo: {}", secret.expose());
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
