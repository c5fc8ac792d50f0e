//! A client's signed calls.

use hmac_propagator::auth::hash_client_secret;
use hmac_propagator::client::SigningClient;
use hmac_propagator::id::ClientId;
use hmac_propagator::secret::{ClientSecret, SecretHash, SecretToken};
use reqwest::{Client, Method, Request, Url};
use serde_json::Value;

use crate::Result;
use crate::admin::Answer;

/// Somebody who was given a secret.
pub struct Caller {
    http: Client,
    client: ClientId,
    hash: SecretHash,
}

impl Caller {
    /// `pepper`: of the peer that decided about the credential. Clients of that peer know it.
    ///
    /// # Errors
    /// When id or secret is empty.
    pub fn new(client: &str, secret: &str, pepper: &str) -> Result<Self> {
        let hash = hash_client_secret(&ClientSecret::new(secret)?, &SecretToken::new(pepper));
        Ok(Self { http: crate::admin::http()?, client: ClientId::new(client)?, hash })
    }

    /// What it signs with.
    #[must_use]
    pub fn hash(&self) -> &SecretHash {
        &self.hash
    }

    /// A signed GET.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, url: &str) -> Result<Answer> {
        let signing = SigningClient::fixed(self.http.clone(), self.client.clone(), &self.hash);
        let request = Request::new(Method::GET, Url::parse(url)?);
        Answer::read(signing.execute(request).await?).await
    }
}

/// The code with which a call was refused; `None`: it was let in.
#[must_use]
pub fn refusal(answer: &Answer) -> Option<&str> {
    (answer.status >= 400).then(|| answer.body["error"].as_str().unwrap_or("?"))
}

/// Whom the called peer took for the caller.
#[must_use]
pub fn known_as(answer: &Answer) -> Option<&str> {
    match &answer.body["clientId"] {
        Value::String(client) if answer.status == 200 => Some(client),
        _ => None,
    }
}
