use std::net::SocketAddr;
use std::time::Duration;

use super::endpoint::{Endpoint, USER};
use super::{Queues, http};
use crate::error::Result;

/// A test waits no longer than this for the shared node to take its virtual host away.
const DELETE: Duration = Duration::from_secs(5);

/// A virtual host that one test has for itself.
pub struct Vhost {
    endpoint: Endpoint,
    name: String,
}

impl Vhost {
    pub(super) async fn create(endpoint: Endpoint, name: &str) -> Result<Self> {
        // Whoever creates a virtual host gets all permissions on it.
        http::request(&endpoint, "PUT", format!("/api/vhosts/{name}"), "{}".into()).await?;
        Ok(Self { endpoint, name: name.to_owned() })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The AMQP URL of this virtual host, with user and password.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_via(self.endpoint.amqp())
    }

    /// The same for clients that go through a proxy.
    #[must_use]
    pub fn url_via(&self, address: SocketAddr) -> String {
        let Self { endpoint: Endpoint { password, .. }, name } = self;
        format!("amqp://{USER}:{password}@{address}/{name}")
    }

    /// Connects for operations on queues, past any proxy.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub async fn queues(&self) -> Result<Queues> {
        Queues::connect(&self.url()).await
    }

    /// Sets a policy for the queues whose name matches `pattern`. `definition` is a JSON object,
    /// for example `{"max-length": 1, "overflow": "reject-publish"}`.
    ///
    /// # Errors
    ///
    /// When the node does not answer or refuses the policy.
    pub async fn set_policy(&self, pattern: &str, definition: &str) -> Result<()> {
        let path = format!("/api/policies/{}/test", self.name);
        let pattern = pattern.replace('\\', r"\\").replace('"', r#"\""#);
        let body =
            format!(r#"{{"pattern":"{pattern}","definition":{definition},"apply-to":"queues"}}"#);
        http::request(&self.endpoint, "PUT", path, body).await.map(drop)
    }

    /// Has the node close every connection to this virtual host.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub async fn close_connections(&self) -> Result<()> {
        let arguments = ["close_all_connections", "--vhost", &self.name, "closed by a test"];
        self.endpoint.rabbitmqctl(&arguments).await.map(drop)
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        // A node of the test's own ends with all it holds, and may be paused or gone already.
        if self.endpoint.shared {
            let path = format!("/api/vhosts/{}", self.name);
            let _ = http::request_blocking(&self.endpoint, "DELETE", &path, "", DELETE);
        }
    }
}
