//! The operator's hold on a peer's process.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::protocol::{Config, Order, Report};
use crate::Result;

/// No order takes longer, not even on a busy machine.
const ANSWER: Duration = Duration::from_secs(60);

/// A running peer. It is killed when this is dropped, and ends by itself when this process dies,
/// because its standard input ends then.
pub(crate) struct PeerProcess {
    child: Child,
    orders: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
}

impl PeerProcess {
    /// Starts a peer and waits until it is ready.
    pub(crate) async fn start(config: &Config) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("peer")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = child.stdin.take().ok_or("the peer has no standard input")?;
        let output = child.stdout.take().ok_or("the peer has no standard output")?;
        let mut peer = Self { child, orders, reports: BufReader::new(output).lines() };
        match peer.exchange(config).await? {
            Report::Ready => Ok(peer),
            other => Err(format!("the peer {} did not start: {other:?}", config.queue).into()),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Gives an order and waits for the report.
    pub(crate) async fn order(&mut self, order: &Order) -> Result<Report> {
        self.exchange(order).await
    }

    /// Ends it with SIGKILL and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Has it finish what it has in hand; returns whether it ended well.
    pub(crate) async fn close(mut self) -> Result<bool> {
        let report = self.exchange(&Order::Close).await?;
        let status = timeout(ANSWER, self.child.wait()).await??;
        Ok(matches!(report, Report::Closed) && status.success())
    }

    async fn exchange(&mut self, line: &impl serde::Serialize) -> Result<Report> {
        let mut line = serde_json::to_string(line)?;
        line.push('\n');
        self.orders.write_all(line.as_bytes()).await?;
        let answer = timeout(ANSWER, self.reports.next_line()).await?;
        let answer = answer?.ok_or("the peer ended")?;
        Ok(serde_json::from_str(&answer)?)
    }
}
