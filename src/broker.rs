//! Where the broker is and how patiently it is used.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::secret::BrokerPassword;

pub(crate) mod view;

/// The broker's address and the limits of its use. Start from [`BrokerOptions::new`] and change what
/// differs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BrokerOptions {
    /// Host name or address. Default: `127.0.0.1`.
    pub host: String,
    /// Port. Default: 5672.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password.
    pub password: BrokerPassword,
    /// Virtual host. Default: `hmac-credentials`.
    pub vhost: String,
    /// Speak TLS (`amqps`), commonly on port 5671. Needs the feature `tls`. Default: no.
    pub tls: Option<TlsOptions>,
    /// Heartbeat interval: a peer that is silent for twice as long counts as gone. Default: 10 s.
    pub heartbeat: Duration,
    /// Bound for one attempt to connect, from the first byte to the open channel. Default: 10 s.
    pub connect_deadline: Duration,
    /// Bound for one publish, from the call to the broker's confirm, reconnects included.
    /// Default: 10 s.
    pub publish_deadline: Duration,
    /// Bound for one queue declaration. Default: 5 s.
    pub declare_deadline: Duration,
    /// How many messages the broker hands out before the first of them is settled. Default: 256.
    pub prefetch: u16,
    /// Waits between attempts to connect: from 100 ms, doubling, up to this. Default: 5 s.
    pub reconnect_most: Duration,
    /// Accept `guest` with password `guest` on a host that is not loopback. Default: no.
    pub allow_default_credentials: bool,
}

/// How the broker is known, and how it knows this client. The files are read at every connect, so
/// that renewed ones are taken up.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TlsOptions {
    /// PEM file with the certificates to trust, in place of those of the operating system.
    pub ca_file: Option<PathBuf>,
    /// The name that the broker's certificate must bear. Default: the host.
    pub server_name: Option<String>,
    /// A certificate to show to the broker.
    pub client_certificate: Option<ClientCertificate>,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate, followed by those between it and the root.
    pub chain_file: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key_file: PathBuf,
}

impl BrokerOptions {
    /// Defaults for all but the credentials.
    pub fn new(user: impl Into<String>, password: BrokerPassword) -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 5672,
            user: user.into(),
            password,
            vhost: "hmac-credentials".into(),
            tls: None,
            heartbeat: Duration::from_secs(10),
            connect_deadline: Duration::from_secs(10),
            publish_deadline: Duration::from_secs(10),
            declare_deadline: Duration::from_secs(5),
            prefetch: 256,
            reconnect_most: Duration::from_secs(5),
            allow_default_credentials: false,
        }
    }

    /// Sets the address.
    #[must_use]
    pub fn address(mut self, host: impl Into<String>, port: u16) -> Self {
        self.host = host.into();
        self.port = port;
        self
    }

    /// Sets the virtual host.
    #[must_use]
    pub fn vhost(mut self, vhost: impl Into<String>) -> Self {
        self.vhost = vhost.into();
        self
    }

    /// What [`Builder::start`](crate::propagator::Builder::start) checks too, for who wants to know
    /// before.
    ///
    /// # Errors
    /// `InvalidOptions`, naming the first option that is out of range.
    pub fn validate(&self) -> Result<()> {
        if self.host.is_empty() {
            return Err(Error::invalid("broker host", "a host name or an address"));
        }
        if self.port == 0 {
            return Err(Error::invalid("broker port", "1 to 65535"));
        }
        if self.user.is_empty() || self.user.len() > 128 {
            return Err(Error::invalid("broker user", "1 to 128 bytes"));
        }
        if self.vhost.is_empty() || self.vhost.len() > 255 {
            return Err(Error::invalid("broker vhost", "1 to 255 bytes"));
        }
        if self.tls.is_some() && !cfg!(feature = "tls") {
            return Err(Error::invalid("broker tls", "a build with the feature `tls`"));
        }
        if self.prefetch == 0 {
            return Err(Error::invalid("broker prefetch", "1 to 65535"));
        }
        if self.heartbeat < Duration::from_secs(1) || self.heartbeat > Duration::from_secs(60) {
            return Err(Error::invalid("broker heartbeat", "1 s to 60 s"));
        }
        for (name, deadline) in [
            ("broker connect_deadline", self.connect_deadline),
            ("broker publish_deadline", self.publish_deadline),
            ("broker declare_deadline", self.declare_deadline),
            ("broker reconnect_most", self.reconnect_most),
        ] {
            if deadline < Duration::from_millis(10) {
                return Err(Error::invalid(name, "at least 10 ms"));
            }
        }
        let default_credentials = self.user == "guest" && self.password.expose() == "guest";
        if default_credentials && !self.is_loopback() && !self.allow_default_credentials {
            return Err(Error::invalid(
                "broker user",
                "credentials of its own: guest/guest beyond loopback only with allow_default_credentials",
            ));
        }
        Ok(())
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_is_for_loopback_unless_asked_for() {
        let guest = BrokerOptions::new("guest", BrokerPassword::new("guest"));
        assert!(guest.validate().is_ok());
        let mut remote = guest.address("broker.example", 5672);
        let error = remote.validate().unwrap_err().to_string();
        assert!(error.starts_with("broker user: expected"), "{error}");
        remote.allow_default_credentials = true;
        assert!(remote.validate().is_ok());
    }

    #[test]
    fn tls_is_for_builds_that_have_it() {
        let mut options = BrokerOptions::new("u", BrokerPassword::new("p"));
        options.tls = Some(TlsOptions::default());
        assert_eq!(options.validate().is_ok(), cfg!(feature = "tls"));
    }

    #[test]
    fn a_wrong_option_is_named() {
        let good = BrokerOptions::new("u", BrokerPassword::new("p"));
        type Spoil = fn(&mut BrokerOptions);
        let cases: [(&str, Spoil); 4] = [
            ("broker host", |o| o.host.clear()),
            ("broker port", |o| o.port = 0),
            ("broker prefetch", |o| o.prefetch = 0),
            ("broker publish_deadline", |o| o.publish_deadline = Duration::ZERO),
        ];
        for (name, spoil) in cases {
            let mut options = good.clone();
            spoil(&mut options);
            assert!(options.validate().unwrap_err().to_string().starts_with(name));
        }
    }
}
