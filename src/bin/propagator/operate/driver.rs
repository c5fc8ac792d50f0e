//! A short-lived replica of the peer: it shares queue, Redis and database with a `serve` that may be
//! running, decides and sends, and takes answers while it is there.

use hmac_propagator::propagator::{LinkState, Propagator, StoreState, SyncSummary};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::failure;
use super::operator::Operator;
use crate::fault::{Exit, Fault};

pub(super) struct Driver {
    pub(super) propagator: Propagator,
    /// SIGINT or SIGTERM came.
    interrupted: CancellationToken,
}

impl Driver {
    /// Starts the replica, which connects in the background. From now on a signal does not end the
    /// process but what it waits for: a decision is made whole, and a generated secret is printed.
    pub(super) async fn start(operator: &Operator) -> Result<Self, Fault> {
        let interrupted = watch_signals()?;
        let started = operator.peer.builder().start().await;
        let propagator =
            started.map_err(|error| failure::of_library("cannot start the peer", error))?;
        Ok(Self { propagator, interrupted })
    }

    /// Sends what is open.
    pub(super) async fn send(&self) -> Result<SyncSummary, Fault> {
        tokio::select! {
            biased;
            () = self.interrupted() => Err(interrupted()),
            sent = self.send_when_ready() => sent,
        }
    }

    async fn send_when_ready(&self) -> Result<SyncSummary, Fault> {
        // Longer than one attempt to connect takes by default.
        let patience = std::time::Duration::from_secs(12);
        if tokio::time::timeout(patience, self.propagator.ready()).await.is_err() {
            return Err(Fault::new(self.what_is_missing().await).exit(Exit::Unreachable));
        }
        let sent = self.propagator.sync().await;
        sent.map_err(|error| failure::of_library("cannot send", error))
    }

    async fn what_is_missing(&self) -> String {
        let status = self.propagator.status().await;
        let mut missing = Vec::new();
        for (name, link) in [("publishing", status.publisher), ("consuming", status.consumer)] {
            match link {
                LinkState::Up => {}
                LinkState::Down { reason: Some(reason) } => {
                    missing.push(format!("the broker ({name}): {reason}"));
                }
                _ => missing.push(format!("the broker ({name})")),
            }
        }
        if let StoreState::Down { reason } = status.store {
            missing.push(format!("Redis: {reason}"));
        }
        if missing.is_empty() {
            return "the peer was not ready in time".into();
        }
        format!("cannot reach {}", missing.join("; "))
    }

    /// Waits for a signal.
    pub(super) async fn interrupted(&self) {
        self.interrupted.cancelled().await;
    }

    /// Finishes what is in hand and disconnects.
    pub(super) async fn close(&self) {
        self.propagator.close().await;
    }
}

fn interrupted() -> Fault {
    Fault::new("interrupted").exit(Exit::Interrupted)
}

/// The first signal asks to end, the second one does not ask.
fn watch_signals() -> Result<CancellationToken, Fault> {
    let listen =
        |kind| signal(kind).map_err(|error| Fault::because("cannot listen to signals", error));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let came = token.clone();
    tokio::spawn(async move {
        next(&mut interrupt, &mut terminate).await;
        came.cancel();
        next(&mut interrupt, &mut terminate).await;
        std::process::exit(i32::from(Exit::Interrupted as u8));
    });
    Ok(token)
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
