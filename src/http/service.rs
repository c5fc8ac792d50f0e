//! Verify, then call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{Either, Full};
use tower_service::Service;

use super::answer::{Answer, AnswerBody, Protocol};
use super::receive::{self, BoxError};
use super::settings::Settings;
use crate::auth::ClientAddress;
use crate::verify::{Claim, ReceivedRequest, Verified};

/// A service behind an [`HmacLayer`](super::HmacLayer).
#[derive(Clone)]
pub struct HmacService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> HmacService<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, B, R> Service<Request<B>> for HmacService<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<AnswerBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was polled ready must be the one that is called.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let settings = self.settings.clone();
        let protocol = Protocol::of(request.headers());
        Box::pin(async move {
            match verified(&settings, request).await {
                Ok(request) => Ok(inner.call(request).await?.map(Either::Left)),
                Err(answer) => Ok(answer.into_response(protocol).map(Either::Right)),
            }
        })
    }
}

/// The request with its whole body and its client, or the answer in its place. Headers are examined
/// before the body is read, so that nobody can make the server read for nothing.
async fn verified<B>(
    settings: &Settings,
    request: Request<B>,
) -> Result<Request<Full<Bytes>>, Answer>
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let (mut parts, body) = request.into_parts();
    let claim = examine(settings, &parts)?;
    let client_address = settings.client_address(&parts);
    let body = receive::whole(body, settings.body_limit, settings.body_timeout).await?;
    let verified = verify(settings, &claim, &parts, &body, client_address).await?;
    parts.extensions.insert(verified);
    Ok(Request::from_parts(parts, Full::new(body)))
}

fn examine(settings: &Settings, parts: &Parts) -> Result<Claim, Answer> {
    let headers = receive::SignatureHeaders::of(&parts.headers);
    Ok(settings.verifier.examine(headers.presented())?)
}

async fn verify(
    settings: &Settings,
    claim: &Claim,
    parts: &Parts,
    body: &[u8],
    client_address: Option<ClientAddress>,
) -> Result<Verified, Answer> {
    let target = settings.target(parts);
    let method = parts.method.as_str();
    let request = ReceivedRequest { method, target: &target, body, client_address };
    Ok(settings.verifier.verify_request(claim, &request).await?)
}

impl<S> fmt::Debug for HmacService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacService").field("settings", &self.settings).finish_non_exhaustive()
    }
}
