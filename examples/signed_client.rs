//! Calls the example `axum_server`.
//!
//! ```sh
//! SECRET=... cargo run --example signed_client --features reqwest
//! ```

#![allow(clippy::print_stdout)]

use hmac_propagator::auth::hash_client_secret;
use hmac_propagator::client::SigningClient;
use hmac_propagator::id::ClientId;
use hmac_propagator::secret::{ClientSecret, SecretToken};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = ClientSecret::new(std::env::var("SECRET").map_err(|_| "set SECRET")?)?;
    let token = SecretToken::new(std::env::var("SECRET_TOKEN").unwrap_or_default());
    let client_id = std::env::var("CLIENT_ID").unwrap_or_else(|_| "demo".into());
    let url = std::env::var("URL").unwrap_or_else(|_| "http://127.0.0.1:8080/echo".into());

    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let hash = hash_client_secret(&secret, &token);
    let client = SigningClient::fixed(http.clone(), ClientId::new(client_id)?, &hash);
    let answer = client.execute(http.post(url).body("hello").build()?).await?;
    println!("{}", answer.status());
    print!("{}", answer.text().await?);
    Ok(())
}
