use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::error::Result;
use crate::ports::free_address;
use crate::process::{Process, Program, find};
use crate::scratch::Scratch;

const START: Duration = Duration::from_secs(30);

/// What drives a Chromium of the test's own, by the WebDriver protocol.
pub struct Chromedriver {
    // Above the directory: the process ends before its files go.
    _process: Process,
    port: u16,
    scratch: Scratch,
}

impl Chromedriver {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    ///
    /// When it or Chromium is not installed, or it does not start.
    pub async fn start() -> Result<Self> {
        let path = find("chromedriver", &["/usr/bin"], "chromium-driver")?;
        find("chromium", &["/usr/bin"], "chromium")?;
        let (scratch, port) = (Scratch::new()?, free_address()?.port());
        let home = scratch.path().display().to_string();
        let mut process = Process::start(&Program {
            path,
            arguments: vec![format!("--port={port}")],
            environment: vec![
                ("HOME", home.clone()),
                ("TMPDIR", home),
                ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ],
            directory: scratch.path().to_owned(),
            output: scratch.path().join("log"),
            unprivileged: false,
            // It ends the browsers that it started, which outlive it otherwise.
            farewell: Some("TERM"),
        })
        .await?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        process
            .wait_until_ready(START, || async move { TcpStream::connect(address).await.is_ok() })
            .await?;
        Ok(Self { _process: process, port, scratch })
    }

    /// Where it is spoken to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The arguments for a Chromium that keeps everything in a directory of its own and asks nobody
    /// on the network but whom the test tells it to.
    #[must_use]
    pub fn browser_arguments(&self) -> Vec<String> {
        let own = self.scratch.path().join("profile");
        [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-default-apps",
            "--no-proxy-server",
            "--hide-scrollbars",
        ]
        .into_iter()
        .map(str::to_owned)
        .chain([format!("--user-data-dir={}", own.display())])
        .collect()
    }
}
