//! RabbitMQ: a node, virtual hosts on it, and the queues of one virtual host.

mod endpoint;
mod http;
mod node;
mod queues;
mod vhost;

use std::net::SocketAddr;
use std::ops::Deref;

use crate::error::{Context, Error, Result};

use endpoint::Endpoint;
use node::Node;
pub use queues::{Message, Queues};
pub use vhost::Vhost;

/// The environment variable by which `private-servers` names the node that a whole run shares.
pub const SHARED_BROKER: &str = "HMAC_TEST_BROKER";

/// A RabbitMQ node: the one that the run shares, or else one that ends with this value.
pub struct Broker {
    endpoint: Endpoint,
    /// Only held to be dropped; the shared node belongs to the process that started it.
    _node: Option<Node>,
}

impl Broker {
    /// Uses the node that [`SHARED_BROKER`] names; without the variable, starts one.
    ///
    /// # Errors
    ///
    /// When RabbitMQ is not installed or does not start, or the variable is not understood.
    pub async fn start() -> Result<Self> {
        if let Ok(text) = std::env::var(SHARED_BROKER) {
            return Ok(Self { endpoint: Endpoint::from_variable(&text)?, _node: None });
        }
        let node = Node::start("").await?;
        Ok(Self { endpoint: node.endpoint().clone(), _node: Some(node) })
    }

    /// Starts a node that no other test uses, which may therefore be killed.
    ///
    /// # Errors
    ///
    /// When RabbitMQ is not installed or does not start.
    pub async fn start_private() -> Result<PrivateBroker> {
        Self::start_private_with("").await
    }

    /// As [`start_private`](Self::start_private), with more lines for `rabbitmq.conf`.
    ///
    /// # Errors
    ///
    /// When RabbitMQ is not installed, refuses the configuration, or does not start.
    pub async fn start_private_with(configuration: &str) -> Result<PrivateBroker> {
        let node = Node::start(configuration).await?;
        let broker = Self { endpoint: node.endpoint().clone(), _node: None };
        Ok(PrivateBroker { broker, node })
    }

    /// Where it speaks AMQP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.endpoint.amqp()
    }

    /// The password of its only user, for tests that look for secrets in logs.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.endpoint.password
    }

    /// Creates an empty virtual host with a name of its own.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub async fn vhost(&self) -> Result<Vhost> {
        self.vhost_named(&format!("test-{}", crate::ports::token())).await
    }

    /// Creates a virtual host with this name, made of letters, digits and hyphens.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub async fn vhost_named(&self, name: &str) -> Result<Vhost> {
        Vhost::create(self.endpoint.clone(), name).await
    }

    /// Runs `rabbitmqctl` on this node and returns what it prints. Takes about half a second.
    ///
    /// # Errors
    ///
    /// When the node is away or the command fails.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) -> Result<String> {
        self.endpoint.rabbitmqctl(arguments).await
    }

    /// What to put into [`SHARED_BROKER`] so that other processes use this node.
    #[must_use]
    pub fn variable(&self) -> String {
        self.endpoint.to_variable()
    }
}

/// A node that only one test uses: all of [`Broker`], and ways to break it.
pub struct PrivateBroker {
    broker: Broker,
    node: Node,
}

impl PrivateBroker {
    /// Ends the node with SIGKILL. Its durable data stays.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub async fn kill(&self) -> Result<()> {
        self.node.kill().await
    }

    /// Shuts the node down in good order and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When it is not running, or takes longer than a minute.
    pub async fn stop(&self) -> Result<()> {
        self.node.stop().await
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop), on the same ports and
    /// with its data, and waits until it serves.
    ///
    /// # Errors
    ///
    /// When it is running or does not start.
    pub async fn restart(&self) -> Result<()> {
        self.node.launch().await
    }

    /// Stops it with SIGSTOP: connections stay open and nothing answers, not even heartbeats.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub async fn pause(&self) -> Result<()> {
        self.node.pause().await
    }

    /// Lets it go on after [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub async fn resume(&self) -> Result<()> {
        self.node.resume().await
    }

    /// Raises or clears the memory alarm, which blocks connections that publish.
    ///
    /// # Errors
    ///
    /// When the node is away or the alarm does not follow.
    pub async fn set_memory_alarm(&self, on: bool) -> Result<()> {
        // A watermark of zero is always exceeded.
        let watermark = if on { "0" } else { "0.4" };
        self.rabbitmqctl(&["set_vm_memory_high_watermark", watermark]).await?;
        // Answers from the process that tells the connections, so it is behind the change.
        let alarms = self.eval("rabbit_alarm:get_alarms().").await?;
        match alarms.contains("memory") == on {
            true => Ok(()),
            false => Err(Error::new(format!("the alarms are {alarms}"))),
        }
    }

    /// Keeps the processes of queues from working: the broker and all other queues go on, but these
    /// confirm and answer nothing, as replicated queues do that have lost their majority.
    ///
    /// # Errors
    ///
    /// When the node is away or there is no such queue.
    pub async fn suspend_queues(&self, vhost: &Vhost, names: &[&str]) -> Result<()> {
        self.each_queue(vhost, names, "suspend").await
    }

    /// Lets them go on after [`suspend_queues`](Self::suspend_queues), with all that was sent to them
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// When the node is away or there is no such queue.
    pub async fn resume_queues(&self, vhost: &Vhost, names: &[&str]) -> Result<()> {
        self.each_queue(vhost, names, "resume").await
    }

    async fn each_queue(&self, vhost: &Vhost, names: &[&str], function: &str) -> Result<()> {
        let names: Vec<_> = names.iter().map(|name| format!("<<\"{name}\">>")).collect();
        let expression = format!(
            "[begin {{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{}\">>, queue, N)), \
             ok = sys:{function}(amqqueue:get_pid(Q)) end || N <- [{}]].",
            vhost.name(),
            names.join(", "),
        );
        self.eval(&expression).await.map(drop)
    }

    /// Evaluates an Erlang expression on the node and returns its printed value.
    ///
    /// # Errors
    ///
    /// When the node is away or the expression fails.
    pub async fn eval(&self, expression: &str) -> Result<String> {
        self.rabbitmqctl(&["eval", expression]).await.context(expression)
    }

    /// Has the node close every connection that is open.
    ///
    /// # Errors
    ///
    /// When the node is away.
    pub async fn close_all_connections(&self) -> Result<()> {
        // Without the option it would close those of the virtual host "/" only.
        let arguments = ["close_all_connections", "--global", "closed by a test"];
        self.rabbitmqctl(&arguments).await.map(drop)
    }
}

impl Deref for PrivateBroker {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}

#[cfg(test)]
mod tests;
