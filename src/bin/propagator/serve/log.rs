//! The log, on standard error.

use std::io::{self, IsTerminal};
use std::time::Instant;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};
use crate::fault::Fault;

/// Starts to write it.
pub(crate) fn start(log: &Log) -> Result<(), Fault> {
    let filter = EnvFilter::try_new(&log.filter)
        .map_err(|error| Fault::because("LOG cannot be read", error))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let started = match log.format {
        LogFormat::Text => lines.finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|error| Fault::because("the log cannot be started", error))
}

/// A line for each request: without query and headers, which are the caller's.
pub(crate) async fn request(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), started.elapsed());
    tracing::debug!(%method, path, status, ms = took.as_secs_f64() * 1000.0, "request");
    response
}
