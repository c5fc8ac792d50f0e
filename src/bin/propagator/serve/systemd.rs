//! What the service manager is told. Without one (`NOTIFY_SOCKET` unset) all of this does nothing.

use sd_notify::NotifyState;

/// The peer listens. Whether broker, Redis and database are there is another question: see
/// `/health/ready`. While the runtime works the watchdog is fed, where the unit has one.
pub(crate) fn ready(address: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("listening on {address}"))]);
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    tokio::spawn(async move {
        loop {
            tell(&[NotifyState::Watchdog]);
            // Goes on while the process stops, which has a deadline of its own.
            tokio::time::sleep(limit / 3).await;
        }
    });
}

pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}
