//! Plays the scenario on a mesh of its own. With `--keep` the mesh stays up afterwards, until Ctrl-C.

use std::process::ExitCode;

use poc::mesh::{ALL, Mesh};
use poc::page::Page;
use poc::{Result, invite, scenario};
use tokio::signal::unix::{Signal, SignalKind, signal};

// As a shell reports a process that a signal ended.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let played = match words[..] {
        [] => play(false).await,
        ["--keep"] => play(true).await,
        _ => Err("usage: poc [--keep]".into()),
    };
    played.unwrap_or_else(|error| {
        eprintln!("poc: {error}");
        ExitCode::FAILURE
    })
}

async fn play(keep: bool) -> Result<ExitCode> {
    // Before anything is started, so that no signal ends this process without its cleaning up.
    let mut signals = Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
    };
    let mut page = Page::default();
    let mesh = tokio::select! {
        mesh = up_to_the_end(&mut page, keep) => mesh?,
        code = signals.next() => return Ok(ExitCode::from(code)),
    };
    if keep {
        invite(&mesh, &page)?;
        signals.next().await;
    }
    tokio::select! {
        stopped = scenario::stop(mesh, &mut page) => stopped?,
        code = signals.next() => return Ok(ExitCode::from(code)),
    }
    Ok(if page.summary() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A mesh that is kept is not cleaned up: there is to be something in it to look at.
async fn up_to_the_end(page: &mut Page, keep: bool) -> Result<Mesh> {
    let mut mesh = Mesh::start(&ALL).await?;
    scenario::run(&mut mesh, page).await?;
    if !keep {
        scenario::clean_up(&mesh, page).await?;
    }
    Ok(mesh)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPTED,
            _ = self.terminate.recv() => TERMINATED,
        }
    }
}
