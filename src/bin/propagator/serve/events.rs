//! `GET /events`: what happens, as server-sent events.
//!
//! Every reader has a queue of its own, and it is bounded: who does not read is dropped, and holds up
//! neither the peer nor other readers. What happened lately is kept, so that a reader that comes back
//! with `Last-Event-ID` misses nothing, or is told that it did.

mod feed;
mod position;
mod telling;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use tokio_util::sync::CancellationToken;

use super::problem::Problem;
pub(crate) use feed::Feed;
use feed::Reader;
pub(crate) use telling::Told;

/// Between comments that keep a silent connection open and find out whether it still is, and between
/// looks whether the reader may still read.
const HEARTBEAT: Duration = Duration::from_secs(10);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Whether a reader may still read: a page may not any more when its session has ended.
pub(crate) type StillMay = Arc<dyn Fn() -> bool + Send + Sync>;

/// Answers a reader, until it leaves, falls behind, may not read any more, or the process stops.
pub(crate) fn answer(
    feed: &Feed,
    stop: CancellationToken,
    still_may: StillMay,
    headers: &HeaderMap,
) -> Response {
    let last = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or_default());
    match feed.subscribe(last) {
        Some(reader) => stream_of(reader, stop, still_may),
        None => {
            let message = "there are too many readers of events";
            Problem::unavailable("TOO_MANY_READERS", message).retry_after(10).into_response()
        }
    }
}

fn stream_of(reader: Reader, stop: CancellationToken, still_may: StillMay) -> Response {
    let beat = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    let state = (reader, beat, stop, still_may);
    let frames = stream::unfold(state, |(mut reader, mut beat, stop, still_may)| async move {
        let frame = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            // Before the events: many of them must not keep it from its turn.
            _ = beat.tick() => still_may().then(|| Bytes::from_static(b": alive\n\n"))?,
            frame = reader.next() => frame?,
        };
        Some((Ok::<_, Infallible>(frame), (reader, beat, stop, still_may)))
    });
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy that collects the answer before it passes it on would hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
