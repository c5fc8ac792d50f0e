//! `propagator serve`: a peer out of configuration, and its HTTP side.

mod admin;
mod app;
mod bearer;
mod body;
mod clock;
mod cors;
mod echo;
mod events;
mod fields;
mod health;
mod log;
mod metrics;
mod names;
mod openapi;
mod page;
mod port_file;
mod problem;
mod query;
mod rest;
mod rotate;
mod secrets;
mod server;
mod stall;
mod stop;
mod syncs;
mod systemd;
mod telemetry;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigArgs, Purpose};
use crate::fault::{Exit, Fault};
use crate::output;
use crate::peer::Peer;
use app::App;
use telemetry::Telemetry;

/// Whom the audit names for what is done over HTTP.
const ACTOR: &str = "serve";

#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only check the configuration: say where each value comes from, and end.
    #[arg(long)]
    check: bool,
    /// Write the port that is listened on into this file, once it is open.
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
}

impl Serve {
    pub(crate) fn run(self) -> Result<(), Fault> {
        let config = Config::load(&self.config, Purpose::Serve)?;
        if self.check {
            return check(&config);
        }
        log::start(&config.log)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Fault::because("cannot start a runtime", error))?;
        let done = runtime.block_on(serve(Arc::new(config), self.port_file));
        // What still hangs, such as a look-up of a host name, must not hold up the end.
        runtime.shutdown_background();
        done
    }
}

fn check(config: &Config) -> Result<(), Fault> {
    for shown in config.shown() {
        let value = shown.value.as_deref().unwrap_or("(hidden)");
        output::line(&format!("{} = {value} ({})", shown.key.name, shown.source))?;
    }
    output::line("the configuration is usable")
}

async fn serve(config: Arc<Config>, port_file: Option<PathBuf>) -> Result<(), Fault> {
    let stop = CancellationToken::new();
    stop::on_signals(stop.clone())
        .map_err(|error| Fault::because("cannot wait for signals", error))?;
    let deadline = config.shutdown_deadline;
    // Before anything else: a port that is taken must not cost a connection to the database.
    let listener = listen(SocketAddr::new(config.http.host, config.http.port)).await?;
    let started = tokio::select! {
        started = start(config, stop.clone()) => started,
        () = stop.cancelled() => return Ok(()),
    };
    let app = started?;
    let address = announce(&listener, port_file)?;
    systemd::ready(&address);
    let router = app::router(&app);
    let ended = tokio::spawn({
        let stop = stop.clone();
        // Half of the time for requests in hand, the other half for what the peer has in hand.
        async move { server::run(listener, router, stop, deadline / 2).await }
    });
    stop.cancelled().await;
    systemd::stopping();
    if tokio::time::timeout(deadline, finish(&app, ended)).await.is_err() {
        tracing::warn!("the time to stop is over; what is not finished goes on at the next start");
    }
    tracing::info!("stopped");
    Ok(())
}

/// The peer, started. Broker and Redis may be away; the database may not.
async fn start(config: Arc<Config>, stop: CancellationToken) -> Result<App, Fault> {
    let parts = Peer::assemble(config.clone(), ACTOR).await?;
    let builder = parts.builder().close_deadline(close_deadline(config.shutdown_deadline));
    let telemetry = Telemetry::start()?;
    let builder = builder.observer(telemetry.clone());
    let builder = match config.sync_interval {
        Some(interval) if parts.management.is_some() => builder.sync_every(interval),
        _ => builder,
    };
    let propagator = builder.start().await;
    let propagator =
        propagator.map_err(|error| Fault::because("the peer cannot be started", error))?;
    let verifier = parts.verifier().observer(telemetry.clone()).build();
    App::new(parts, propagator, verifier, &telemetry, stop, Instant::now())
}

/// Leaves time for requests in hand before, and for closing the database after.
fn close_deadline(whole: Duration) -> Duration {
    whole * 2 / 5
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).await.map_err(|error| {
        Fault::because(format!("cannot listen on {address}"), error).exit(Exit::Refused)
    })
}

/// Says where it listens, for who asked for any free port.
fn announce(listener: &TcpListener, port_file: Option<PathBuf>) -> Result<String, Fault> {
    let address = listener.local_addr();
    let address = address.map_err(|error| Fault::because("cannot tell the port", error))?;
    if let Some(file) = port_file {
        port_file::write(&file, address.port())?;
    }
    let url = format!("http://{address}");
    output::line(&format!("listening on {url}"))?;
    tracing::info!("listening on {url}");
    Ok(url)
}

async fn finish(app: &App, ended: tokio::task::JoinHandle<()>) {
    if let Err(error) = ended.await {
        tracing::error!("the HTTP side ended early: {error}");
    }
    app.propagator.close().await;
    if let Some(management) = &app.parts.management {
        management.close().await;
    }
}
