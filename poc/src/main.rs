//! Shows the main job on a private mesh: create, rotate while a target is down, its return, revoke.
//!
//! Without an argument it is the operator: it starts private servers and the peers, gives orders and
//! looks into every peer's Redis. With the argument `peer` it is one of the peers.

mod call;
mod mesh;
mod page;
mod peer;
mod scenario;
mod store;

use std::error::Error;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::mesh::Mesh;
use crate::page::Page;

/// Errors end as one line for the operator.
type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

// As a shell reports a process that a signal ended.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match words[..] {
        [] => operate().await,
        ["peer"] => peer::serve().await.map(|()| ExitCode::SUCCESS),
        _ => Err("usage: poc".into()),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("poc: {error}");
        ExitCode::FAILURE
    })
}

async fn operate() -> Result<ExitCode> {
    // Before anything is started, so that no signal ends this process without its cleaning up.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        shown = show() => shown,
        _ = interrupt.recv() => Ok(ExitCode::from(INTERRUPTED)),
        _ = terminate.recv() => Ok(ExitCode::from(TERMINATED)),
    }
}

async fn show() -> Result<ExitCode> {
    let mut page = Page::default();
    let mut mesh = Mesh::start().await?;
    scenario::run(&mut mesh, &mut page).await?;
    page.step("stop");
    let left = mesh.stop().await?;
    page.check("every peer finished what it had in hand and ended by itself", left.all_ended_well);
    page.check("no process of the mesh is left and no port is open", left.nothing_runs().await);
    Ok(if page.summary() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
