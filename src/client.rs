//! A client that signs what it sends, over [`reqwest`] 0.13.
//!
//! ```no_run
//! use hmac_propagator::auth::hash_client_secret;
//! use hmac_propagator::client::SigningClient;
//! use hmac_propagator::id::ClientId;
//! use hmac_propagator::secret::{ClientSecret, SecretToken};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
//! let secret = ClientSecret::new(std::env::var("ORDERS_SECRET")?)?;
//! let hash = hash_client_secret(&secret, &SecretToken::default());
//! let client = SigningClient::fixed(http.clone(), ClientId::new("orders")?, &hash);
//!
//! let request = http.post("http://127.0.0.1:8080/v1/orders").body("{\"item\":7}").build()?;
//! let response = client.execute(request).await?;
//! # let _ = response;
//! # Ok(())
//! # }
//! ```
//!
//! # Redirects
//! A signature covers one path. Build the inner client without redirects, as above: one that follows
//! them sends the same headers to another path, maybe to another host, where they fit nothing.
//!
//! # Streaming bodies
//! The headers carry the signature and go first, and the signature covers the whole body. So a body
//! that is a stream is read to its end before anything is sent, up to [`SigningClient::body_limit`].

mod send;
mod source;

use std::fmt;
use std::sync::Arc;

use reqwest::{Request, Response, StatusCode};

use crate::auth::{CanonicalPath, InvalidPath, SignedHeaders, SigningKey};
use crate::clock::{Clock, SystemClock};
use crate::entropy::{Entropy, OsEntropy};
use crate::error::{Cause, Error};
use crate::id::ClientId;
use crate::secret::SecretHash;
use crate::store::CredentialStore;
use source::Source;

/// Signs requests and sends them. Clones share the kept credential.
#[derive(Clone)]
pub struct SigningClient {
    http: reqwest::Client,
    client_id: ClientId,
    source: Arc<Source>,
    body_limit: usize,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// Why a request could not be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no credential to sign with, or the store failed.
    #[error("there is nothing to sign with")]
    Credential(#[source] Error),
    /// The body is longer than [`SigningClient::body_limit`].
    #[error("the body is longer than {limit} bytes")]
    BodyTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The URL cannot be signed.
    #[error("the URL has no path that can be signed")]
    Target(#[source] InvalidPath),
    /// The client's id cannot stand in a header.
    #[error("the client id cannot stand in a header")]
    Header(#[source] reqwest::header::InvalidHeaderValue),
    /// The body that was to be sent could not be read.
    #[error("the body could not be read")]
    Body(#[source] Cause),
    /// Sending failed.
    #[error("the request could not be sent")]
    Http(#[source] reqwest::Error),
}

impl SigningClient {
    /// Signs with one hash. A 401 is handed back: there is nothing else to sign with.
    #[must_use]
    pub fn fixed(http: reqwest::Client, client_id: ClientId, hash: &SecretHash) -> Self {
        Self::over(http, client_id, Source::fixed(hash))
    }

    /// Signs with what the store holds about the client. The hash is kept until a request is
    /// answered with 401; then it is read anew and the request is signed and sent once more.
    #[must_use]
    pub fn from_store(
        http: reqwest::Client,
        client_id: ClientId,
        store: impl CredentialStore,
    ) -> Self {
        let source = Source::store(client_id.clone(), Arc::new(store));
        Self::over(http, client_id, source)
    }

    fn over(http: reqwest::Client, client_id: ClientId, source: Source) -> Self {
        Self {
            http,
            client_id,
            source: Arc::new(source),
            body_limit: 16 * 1024 * 1024,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
        }
    }

    /// The longest streamed body that is read into memory, in bytes. Default: 16 MiB. A body that is
    /// in memory already may be longer.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Where the time comes from. Default: the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where nonces come from. Default: the operating system's generator.
    #[must_use]
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// The client below, for building requests.
    #[must_use]
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Signs a request and sends it; after a 401 once more with the credential read anew. The second
    /// answer is final, whatever it is. Headers of an earlier signature are replaced.
    ///
    /// # Errors
    /// When the request could not be signed or sent. Any answer of the server is no error.
    ///
    /// # Cancellation
    /// A dropped call may have been sent.
    pub async fn execute(&self, request: Request) -> Result<Response, SendError> {
        let request = send::with_whole_body(request, self.body_limit).await?;
        let Some(key) = self.source.key().await.map_err(SendError::Credential)? else {
            return Err(SendError::Credential(source::no_credential()));
        };
        let again = if self.source.can_change() { send::copy(&request) } else { None };
        let response = self.send(request, &key).await?;
        let Some(again) = again.filter(|_| response.status() == StatusCode::UNAUTHORIZED) else {
            return Ok(response);
        };
        match self.source.key_anew().await {
            Ok(Some(key)) => self.send(again, &key).await,
            // Nothing better to sign with: what the server said stands.
            Ok(None) => Ok(response),
            Err(error) => {
                tracing::warn!(client = %self.client_id, %error, "cannot read a credential anew");
                Ok(response)
            }
        }
    }

    async fn send(&self, mut request: Request, key: &SigningKey) -> Result<Response, SendError> {
        let signed = {
            let target = send::target(request.url());
            let path = CanonicalPath::new(&target).map_err(SendError::Target)?;
            let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
            let method = request.method().as_str();
            SignedHeaders::sign(key, method, &path, body, &*self.clock, &*self.entropy)
        };
        send::set_headers(&mut request, &self.client_id, &signed)?;
        self.http.execute(request).await.map_err(SendError::Http)
    }
}

impl fmt::Debug for SigningClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningClient").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}
