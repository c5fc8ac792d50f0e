//! What the service is told, by variables with the names that `propagator serve` uses. A secret may
//! stand in a file instead, which the variable with `_FILE` at its end names.

use std::env;
use std::net::SocketAddr;

use hmac_propagator::broker::BrokerOptions;
use hmac_propagator::id::PeerQueue;
use hmac_propagator::secret::{BrokerPassword, PropagationSecret};

use crate::Result;

pub(crate) struct Settings {
    pub(crate) address: SocketAddr,
    pub(crate) broker: BrokerOptions,
    pub(crate) queue: PeerQueue,
    pub(crate) secret: PropagationSecret,
    pub(crate) source: Source,
    pub(crate) redis_url: String,
}

/// The peer that decides.
pub(crate) struct Source {
    pub(crate) queue: PeerQueue,
    pub(crate) secret: PropagationSecret,
}

impl Settings {
    pub(crate) fn read() -> Result<Self> {
        let password = BrokerPassword::new(secret("AMQP_PASSWORD")?);
        let port = text("AMQP_PORT")?.parse().map_err(|_| "AMQP_PORT: expected a port")?;
        let broker = BrokerOptions::new(text("AMQP_USER")?, password)
            .address(text("AMQP_HOST")?, port)
            .vhost(text("AMQP_VHOST")?);
        let source = Source {
            queue: PeerQueue::new(text("SOURCE_QUEUE")?)?,
            secret: PropagationSecret::new(secret("SOURCE_SECRET")?)?,
        };
        let (host, port) = (text("HOST")?, text("PORT")?);
        let address = format!("{host}:{port}").parse();
        Ok(Self {
            address: address.map_err(|_| "HOST, PORT: expected an address and a port")?,
            broker,
            queue: PeerQueue::new(text("AMQP_QUEUE")?)?,
            secret: PropagationSecret::new(secret("PROPAGATION_SECRET")?)?,
            source,
            redis_url: secret("REDIS_URL")?,
        })
    }
}

fn text(name: &str) -> Result<String> {
    let found = env::var(name).ok().filter(|value| !value.is_empty());
    found.ok_or_else(|| format!("{name}: is required").into())
}

fn secret(name: &str) -> Result<String> {
    let variable = format!("{name}_FILE");
    let Ok(file) = env::var(&variable) else { return text(name) };
    let read = std::fs::read_to_string(&file);
    let read = read.map_err(|error| format!("{variable}: {file} cannot be read: {error}"))?;
    Ok(read.trim_end_matches(['\r', '\n']).to_owned())
}
