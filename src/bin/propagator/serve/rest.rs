//! What is left of a body when its answer is known.
//!
//! A request may be answered before its body was read: the token is wrong, the body is too long. Were
//! the connection closed then, with bytes on the way, the client's system would throw the answer away
//! with the connection, and the client would learn nothing. So the rest is read and dropped, up to a
//! bound.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};

/// The most that is read of a rest, in bytes.
const MOST: usize = 8 * 1024 * 1024;
/// And for how long.
const PATIENCE: Duration = Duration::from_secs(5);

/// A body that, when it is dropped before its end, is read on in the background.
pub(crate) struct WithRest {
    /// `None`: dropped.
    body: Option<Incoming>,
    /// The client sends it only when it is asked to: then nothing is on the way.
    on_demand: bool,
}

impl WithRest {
    pub(crate) fn new(body: Incoming, on_demand: bool) -> Self {
        Self { body: Some(body), on_demand }
    }
}

impl HttpBody for WithRest {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for WithRest {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        // Without a runtime the connection is gone as well.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.on_demand {
            runtime.spawn(tokio::time::timeout(PATIENCE, read(body)));
        }
    }
}

async fn read(mut body: Incoming) {
    let mut left = MOST;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(length) else { return };
        left = rest;
    }
}
