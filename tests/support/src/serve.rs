use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use crate::broker::Vhost;
use crate::error::{Error, Result};
use crate::process::{Process, Program};
use crate::redis_server::Redis;
use crate::scratch::Scratch;

const START: Duration = Duration::from_secs(30);

/// A running `propagator serve`, with a Redis and, if it is to decide, a SQLite database of its own.
pub struct Serve {
    // Above the directory: the process ends before its files go.
    process: Process,
    address: SocketAddr,
    redis: Redis,
    scratch: Scratch,
}

impl Serve {
    /// The secret that messages to a peer of this name must carry.
    #[must_use]
    pub fn propagation_secret(name: &str) -> String {
        format!("propagation-secret-of-{name}")
    }

    /// Starts a peer and waits until it listens. `decides`: with a database. Variables that are given
    /// come last, so they win.
    ///
    /// # Errors
    ///
    /// When it, or its Redis, does not start.
    pub async fn start(
        binary: &Path,
        vhost: &Vhost,
        name: &str,
        decides: bool,
        environment: &[(&'static str, String)],
    ) -> Result<Self> {
        let (redis, scratch) = (Redis::start().await?, Scratch::new()?);
        let port_file = scratch.path().join("port");
        let mut variables = variables(vhost, name, &redis)?;
        if decides {
            let database = scratch.path().join("credentials.db");
            variables.push(("DATABASE_URL", format!("sqlite:{}", database.display())));
        }
        variables.extend_from_slice(environment);
        let mut process = Process::start(&Program {
            path: binary.to_owned(),
            arguments: vec!["serve".into(), "--port-file".into(), port_file.display().to_string()],
            environment: variables,
            directory: scratch.path().to_owned(),
            output: scratch.path().join("log"),
            unprivileged: false,
            farewell: None,
        })
        .await?;
        process.wait_until_ready(START, || std::future::ready(port_file.is_file())).await?;
        let port = std::fs::read_to_string(&port_file).unwrap_or_default();
        let port = port.trim().parse().map_err(|_| Error::new("the port file has no port"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Self { process, address, redis, scratch })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its Redis.
    #[must_use]
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// All that it has printed.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// Stops it with SIGTERM; what it has printed.
    ///
    /// # Errors
    ///
    /// When it has not ended within the deadline.
    pub async fn terminate(self, deadline: Duration) -> Result<String> {
        self.process.terminate(deadline).await?;
        Ok(std::fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default())
    }
}

fn variables(vhost: &Vhost, name: &str, redis: &Redis) -> Result<Vec<(&'static str, String)>> {
    let url = vhost.url();
    let parts = || {
        let (user, rest) = url.strip_prefix("amqp://")?.split_once(':')?;
        let (password, rest) = rest.split_once('@')?;
        let (address, vhost) = rest.split_once('/')?;
        let (host, port) = address.rsplit_once(':')?;
        Some([host, port, user, password, vhost].map(str::to_owned))
    };
    let [host, port, user, password, vhost] =
        parts().ok_or_else(|| Error::new("the broker's URL has another form"))?;
    Ok(vec![
        ("AMQP_HOST", host),
        ("AMQP_PORT", port),
        ("AMQP_USER", user),
        ("AMQP_PASSWORD", password),
        ("AMQP_VHOST", vhost),
        ("AMQP_QUEUE", name.to_owned()),
        ("PROPAGATION_SECRET", Serve::propagation_secret(name)),
        ("HMAC_SECRET_TOKEN", format!("pepper-of-{name}")),
        ("REDIS_URL", redis.url()),
        ("SYNC_INTERVAL", "200ms".to_owned()),
        ("PORT", "0".to_owned()),
        ("LOG", "info,hmac_propagator=trace,propagator=trace".to_owned()),
    ])
}
