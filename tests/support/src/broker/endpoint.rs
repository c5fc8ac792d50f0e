//! All that a process must know to use a node, whether it started the node or not.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use crate::error::{Context, Error, Result};
use crate::process::find;

/// Where Debian and the generic packages keep the scripts that run as whoever calls them. Debian's
/// wrapper in `/usr/sbin` changes to the user of the system's own broker instead.
pub(super) const SCRIPTS: &[&str] = &["/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin"];
pub(super) const PACKAGE: &str = "rabbitmq-server";
pub(super) const USER: &str = "tester";

const CONTROL: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) amqp_port: u16,
    pub(super) http_port: u16,
    pub(super) epmd_port: u16,
    pub(super) node: String,
    /// Drawn for each node, so that no client can end up at another server and not notice.
    pub(super) password: String,
    /// Holds the Erlang cookie.
    pub(super) home: PathBuf,
    /// Whether the node outlives the value that this endpoint belongs to.
    pub(super) shared: bool,
}

impl Endpoint {
    pub(super) fn amqp(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.amqp_port))
    }

    pub(super) fn http(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.http_port))
    }

    /// The directory stands last because a path may contain anything.
    pub(super) fn to_variable(&self) -> String {
        let Self { amqp_port, http_port, epmd_port, node, password, home, shared: _ } = self;
        format!("{amqp_port},{http_port},{epmd_port},{node},{password},{}", home.display())
    }

    pub(super) fn from_variable(text: &str) -> Result<Self> {
        let fields: Vec<&str> = text.splitn(6, ',').collect();
        let [amqp, http, epmd, node, password, home] = fields[..] else {
            return Err(Error::new(format!("{}: six fields expected", super::SHARED_BROKER)));
        };
        let port =
            |text: &str| text.parse().context(format_args!("{}: port", super::SHARED_BROKER));
        Ok(Self {
            amqp_port: port(amqp)?,
            http_port: port(http)?,
            epmd_port: port(epmd)?,
            node: node.to_owned(),
            password: password.to_owned(),
            home: home.into(),
            shared: true,
        })
    }

    /// What every Erlang program of this node needs: its cookie, its epmd, and loopback only.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("HOME", self.home.display().to_string()),
            ("RABBITMQ_NODENAME", self.node.clone()),
            ("RABBITMQ_CONF_ENV_FILE", self.home.join("env.conf").display().to_string()),
            ("ERL_EPMD_PORT", self.epmd_port.to_string()),
            ("ERL_EPMD_ADDRESS", Ipv4Addr::LOCALHOST.to_string()),
            ("ERL_FLAGS", "-kernel inet_dist_use_interface {127,0,0,1}".into()),
        ]
    }

    pub(super) async fn rabbitmqctl(&self, arguments: &[&str]) -> Result<String> {
        let name = arguments.first().copied().unwrap_or_default();
        let running = tokio::process::Command::new(find("rabbitmqctl", SCRIPTS, PACKAGE)?)
            .args(["--quiet", "--node", &self.node])
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .envs(self.environment())
            // Each call listens for a moment; the default range has room for eleven.
            .env("RABBITMQ_CTL_DIST_PORT_MIN", "35672")
            .env("RABBITMQ_CTL_DIST_PORT_MAX", "36671")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let ended = tokio::time::timeout(CONTROL, running).await;
        let output = ended.context(format_args!("rabbitmqctl {name}"))?.context("rabbitmqctl")?;
        let printed = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(printed(&output.stdout)),
            false => Err(Error::new(format!("rabbitmqctl {name}: {}", printed(&output.stderr)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_carries_everything_but_the_ownership() {
        let own = Endpoint {
            amqp_port: 1,
            http_port: 2,
            epmd_port: 3,
            node: "n@localhost".into(),
            password: "p".into(),
            home: "/a,b/c".into(),
            shared: false,
        };
        let read = Endpoint::from_variable(&own.to_variable()).unwrap();
        assert_eq!(read.to_variable(), own.to_variable());
        assert_eq!(read.home, own.home);
        assert!(read.shared);
        assert!(Endpoint::from_variable("1,2,x,n,p,/d").is_err());
        assert!(Endpoint::from_variable("1,2,3").is_err());
    }
}
