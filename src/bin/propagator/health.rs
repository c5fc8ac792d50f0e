//! `propagator health`: asks a running `propagator serve` with the same configuration how it is, for
//! health checks of containers that have no other client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use reqwest::Client;
use serde_json::Value;

use crate::config::{Config, ConfigArgs, Purpose};
use crate::fault::{Exit, Fault};
use crate::output;

/// Longer than the peer waits for the parts that it asks.
const PATIENCE: Duration = Duration::from_secs(7);

#[derive(Args)]
pub(crate) struct Health {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only ask whether the process answers, not whether it can do its work.
    #[arg(long)]
    alive: bool,
}

impl Health {
    pub(crate) fn run(self) -> Result<(), Fault> {
        let config = Config::load(&self.config, Purpose::Operate)?;
        if config.http.port == 0 {
            return Err(Fault::new("PORT: expected the port that is listened on, not any"));
        }
        let address = SocketAddr::new(reachable(config.http.host), config.http.port);
        let path = if self.alive { "/health" } else { "/health/ready" };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Fault::because("cannot start a runtime", error))?;
        runtime.block_on(ask(&format!("http://{address}{path}")))
    }
}

/// What listens everywhere is asked on loopback.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    }
}

async fn ask(url: &str) -> Result<(), Fault> {
    let client = Client::builder().timeout(PATIENCE).no_proxy().build();
    let client = client.map_err(|error| Fault::because("cannot make an HTTP client", error))?;
    let asked = client.get(url).send().await;
    let no_answer = |error| Fault::because(format!("{url}: no answer"), error).exit(Exit::Problems);
    let answer = asked.map_err(no_answer)?;
    let status = answer.status();
    if status.is_success() {
        return output::line(&format!("{url}: {status}"));
    }
    let text = answer.text().await.unwrap_or_default();
    Err(Fault::new(format!("{url}: {status}{}", missing(&text))).exit(Exit::Problems))
}

/// What a peer says that it lacks.
fn missing(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let names = body["missing"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<&str> = names.collect();
    if names.is_empty() { String::new() } else { format!(", missing: {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_asked_on_loopback() {
        for (host, asked) in [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.7", "10.0.0.7")] {
            assert_eq!(reachable(host.parse().unwrap()), asked.parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn a_peer_that_is_not_ready_says_what_it_lacks() {
        assert_eq!(missing(r#"{"missing":["redis","database"]}"#), ", missing: redis, database");
        assert_eq!(missing("no JSON"), "");
    }
}
