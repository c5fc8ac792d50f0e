//! Signals: the first asks for a good end, the second ends at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels the token at the first SIGTERM or SIGINT. At the second one the process ends where it
/// stands, with the exit code that shells give to that signal. Call it inside a runtime.
///
/// # Errors
/// When the handlers cannot be installed.
pub(crate) fn on_signals(stop: CancellationToken) -> io::Result<()> {
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("stopping");
        stop.cancel();
        let again = signals.next().await;
        std::process::exit(128 + again.as_raw_value());
    });
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        }
    }
}
