//! Connections: how many, how patient, and how they end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::http::header::EXPECT;
use hmac_propagator::http::PeerAddress;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::rest::WithRest;
use super::stall::{self, Impatient};

/// Most connections at a time; further ones wait in the backlog. Of the 1024 file descriptors that a
/// process commonly has, enough must be left for broker, Redis and database.
const CONNECTIONS: usize = 512;
/// How long a request line and its headers may take to arrive, also on a connection that idles.
const HEADERS: Duration = Duration::from_secs(15);
/// Longest request line and headers together, in bytes.
const HEADER_BYTES: usize = 64 * 1024;
/// After a failed accept (out of file descriptors), before the next one.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled, then lets requests in hand end for at most `drain`.
pub(crate) async fn run(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    drain: Duration,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    let abort = CancellationToken::new();
    loop {
        let (stream, place) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let serving = serve(stream, router.clone(), stop.clone());
        let abort = abort.clone();
        connections.spawn(async move {
            let _place = place;
            tokio::select! {
                () = serving => {}
                () = abort.cancelled() => {}
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        tracing::warn!("requests that did not end in time are cut off");
    }
    abort.cancel();
    connections.wait().await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there always is a permit.
    let place = places.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router, stop: CancellationToken) {
    let Ok(address) = stream.peer_addr() else { return };
    // Small answers must not wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(PeerAddress(address.ip()));
        let on_demand = request.headers().contains_key(EXPECT);
        router.clone().oneshot(request.map(|body| Body::new(WithRest::new(body, on_demand))))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_header_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(Impatient::new(stream, stall::PATIENCE)), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            // The request in hand is answered; the connection takes no other one.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}
