//! Routes for certain clients only.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::Either;
use tower_layer::Layer;
use tower_service::Service;

use super::answer::{Answer, AnswerBody, Protocol};
use crate::id::{ClientId, Track};
use crate::verify::{KeyUsed, Verified};

/// Lets only certain clients through to a route, out of those that an
/// [`HmacLayer`](super::HmacLayer) before it verified. Others are answered with 403 and
/// `CLIENT_NOT_ALLOWED`; where no layer verified anybody, all are refused with 500.
#[derive(Clone, Debug, Default)]
#[must_use = "a layer does nothing until a service is put under it"]
pub struct Require {
    rules: Arc<Rules>,
}

#[derive(Clone, Debug, Default)]
struct Rules {
    clients: Option<BTreeSet<ClientId>>,
    track: Option<Track>,
    current_key: bool,
}

impl Require {
    /// Any verified client.
    pub fn verified() -> Self {
        Self::default()
    }

    /// These clients and no others.
    pub fn clients(mut self, clients: impl IntoIterator<Item = ClientId>) -> Self {
        Arc::make_mut(&mut self.rules).clients = Some(clients.into_iter().collect());
        self
    }

    /// Only credentials of this track, where layers of both stand before the route.
    pub fn track(mut self, track: Track) -> Self {
        Arc::make_mut(&mut self.rules).track = Some(track);
        self
    }

    /// Only clients that sign with their current secret, also while an overlap lasts.
    pub fn current_key(mut self) -> Self {
        Arc::make_mut(&mut self.rules).current_key = true;
        self
    }
}

impl Rules {
    fn check(&self, verified: Option<&Verified>) -> Result<(), Answer> {
        let verified = verified.ok_or(Answer::UNPROTECTED)?;
        let client = self.clients.as_ref().is_none_or(|set| set.contains(&verified.client_id));
        let track = self.track.is_none_or(|track| track == verified.track);
        let key = !self.current_key || verified.key == KeyUsed::Current;
        if client && track && key { Ok(()) } else { Err(Answer::WRONG_CLIENT) }
    }
}

impl<S> Layer<S> for Require {
    type Service = RequireService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireService { inner, rules: self.rules.clone() }
    }
}

/// A service behind a [`Require`].
#[derive(Clone)]
pub struct RequireService<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S, B, R> Service<Request<B>> for RequireService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<AnswerBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.rules.check(request.extensions().get()) {
            Ok(()) => {
                let answer = self.inner.call(request);
                Box::pin(async move { Ok(answer.await?.map(Either::Left)) })
            }
            Err(answer) => {
                let protocol = Protocol::of(request.headers());
                Box::pin(async move { Ok(answer.into_response(protocol).map(Either::Right)) })
            }
        }
    }
}

impl<S> fmt::Debug for RequireService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireService").field("rules", &self.rules).finish_non_exhaustive()
    }
}
