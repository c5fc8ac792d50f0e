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
        // Taken apart and examined here and not in the future, which would have room for each of
        // these states: it is allocated and moved for every request.
        let (mut parts, body) = request.into_parts();
        let claim = examine(&settings, &parts);
        Box::pin(async move {
            let request = match verified(&settings, &claim, &parts, body).await {
                Ok((verified, body)) => {
                    parts.extensions.insert(verified);
                    Request::from_parts(parts, Full::new(body))
                }
                Err(answer) => {
                    let protocol = Protocol::of(&parts.headers);
                    return Ok(answer.into_response(protocol).map(Either::Right));
                }
            };
            // Of no use while the service works, which may take its time.
            drop(claim);
            Ok(inner.call(request).await?.map(Either::Left))
        })
    }
}

fn examine(settings: &Settings, parts: &Parts) -> Result<Claim, Answer> {
    let headers = receive::SignatureHeaders::of(&parts.headers);
    Ok(settings.verifier.examine(headers.presented())?)
}

/// The client and the whole body, or the answer in the service's place. The body is read after the
/// headers were examined, so that nobody can make the server read for nothing. What came of that is lent,
/// because the future would have room for it twice.
async fn verified<B>(
    settings: &Settings,
    claim: &Result<Claim, Answer>,
    parts: &Parts,
    body: B,
) -> Result<(Verified, Bytes), Answer>
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let claim = claim.as_ref().map_err(|answer| *answer)?;
    let body = receive::whole(body, settings.body_limit, settings.body_timeout).await?;
    let target = settings.target(parts);
    let request = ReceivedRequest {
        method: parts.method.as_str(),
        target: &target,
        body: &body,
        client_address: settings.client_address(parts),
    };
    let verified = settings.verifier.verify_request(claim, &request).await?;
    Ok((verified, body))
}

impl<S> fmt::Debug for HmacService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacService").field("settings", &self.settings).finish_non_exhaustive()
    }
}
