//! One RabbitMQ node with an epmd, a cookie, ports and files of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::endpoint::{Endpoint, PACKAGE, SCRIPTS, USER};
use super::http;
use crate::error::{Context, Error, Result};
use crate::ports::{free_ports, token};
use crate::process::{Process, Program, find};
use crate::scratch::Scratch;

/// A node takes 5 s on an idle machine; a test run leaves it a fraction of one.
const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(60);

pub(super) struct Node {
    // The order of the fields is the order in which they end: the node, its epmd, its files.
    process: Mutex<Option<Process>>,
    _epmd: Process,
    endpoint: Endpoint,
    distribution_port: u16,
    scratch: Scratch,
}

impl Node {
    pub(super) async fn start(configuration: &str) -> Result<Self> {
        let mut last = None;
        // Another process may take a free port between the look and the start.
        for _ in 0..3 {
            match Self::start_once(configuration).await {
                Ok(node) => return Ok(node),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::new("RabbitMQ was not started")))
    }

    async fn start_once(configuration: &str) -> Result<Self> {
        let scratch = Scratch::new()?;
        let [amqp_port, http_port, epmd_port, distribution_port] = free_ports()?;
        let endpoint = Endpoint {
            amqp_port,
            http_port,
            epmd_port,
            node: format!("hmac-{}@localhost", token()),
            password: token(),
            home: scratch.path().to_owned(),
            shared: false,
        };
        write_files(&scratch, &endpoint, configuration)?;
        let epmd = Process::start(&epmd(&endpoint, scratch.path())?).await?;
        let process = Mutex::new(None);
        let node = Self { process, _epmd: epmd, endpoint, distribution_port, scratch };
        node.launch().await?;
        Ok(node)
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Starts the node, for the first time or again, and waits until it serves AMQP.
    pub(super) async fn launch(&self) -> Result<()> {
        let mut slot = self.process.lock().await;
        if slot.is_some() {
            return Err(Error::new("RabbitMQ is running already"));
        }
        let mut process = Process::start(&self.program()?).await?;
        // The management plugin answers before the listeners for AMQP are there; its answer to
        // this node's own password proves that it is this node.
        let ready = process.wait_until_ready(START, || async {
            let path = "/api/whoami".to_owned();
            TcpStream::connect(self.endpoint.amqp()).await.is_ok()
                && http::request(&self.endpoint, "GET", path, String::new()).await.is_ok()
        });
        ready.await.context("rabbitmq-server")?;
        *slot = Some(process);
        Ok(())
    }

    pub(super) async fn kill(&self) -> Result<()> {
        let process = self.process.lock().await.take();
        process.ok_or_else(not_running)?.kill().await
    }

    pub(super) async fn stop(&self) -> Result<()> {
        let process = self.process.lock().await.take();
        process.ok_or_else(not_running)?.terminate(STOP).await
    }

    pub(super) async fn pause(&self) -> Result<()> {
        self.process.lock().await.as_ref().ok_or_else(not_running)?.pause().await
    }

    pub(super) async fn resume(&self) -> Result<()> {
        self.process.lock().await.as_ref().ok_or_else(not_running)?.resume().await
    }

    fn program(&self) -> Result<Program> {
        let file = |name: &str| self.scratch.path().join(name).display().to_string();
        let mut environment = self.endpoint.environment();
        environment.extend([
            ("RABBITMQ_DIST_PORT", self.distribution_port.to_string()),
            ("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", file("advanced.config")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins")),
            ("RABBITMQ_MNESIA_BASE", file("data")),
            ("RABBITMQ_LOG_BASE", file("log")),
            // Has the script replace itself by the node instead of waiting for it, so that the
            // process id is the node's; nothing is detached.
            ("detached", "yes".into()),
        ]);
        Ok(Program {
            path: find("rabbitmq-server", SCRIPTS, PACKAGE)?,
            arguments: Vec::new(),
            environment,
            directory: self.scratch.path().to_owned(),
            output: self.scratch.path().join("output"),
            unprivileged: false,
            farewell: None,
        })
    }
}

fn not_running() -> Error {
    Error::new("RabbitMQ is not running")
}

/// In the foreground, so that it ends with its owner as any other child does.
fn epmd(endpoint: &Endpoint, directory: &Path) -> Result<Program> {
    let port = endpoint.epmd_port.to_string();
    let address = "127.0.0.1".to_owned();
    Ok(Program {
        path: find("epmd", &["/usr/bin", "/usr/local/bin", "/usr/lib/erlang/bin"], "erlang-base")?,
        arguments: vec!["-port".into(), port, "-address".into(), address],
        environment: Vec::new(),
        directory: directory.to_owned(),
        output: directory.join("epmd"),
        unprivileged: false,
        farewell: None,
    })
}

fn write_files(scratch: &Scratch, endpoint: &Endpoint, configuration: &str) -> Result<()> {
    let Endpoint { amqp_port, http_port, password, .. } = endpoint;
    let settings = format!(
        "listeners.tcp.1 = 127.0.0.1:{amqp_port}\n\
         management.tcp.ip = 127.0.0.1\n\
         management.tcp.port = {http_port}\n\
         management_agent.disable_metrics_collector = true\n\
         default_user = {USER}\n\
         default_pass = {password}\n\
         disk_free_limit.absolute = 1MB\n\
         log.console = true\n\
         log.file = false\n\
         {configuration}\n"
    );
    scratch.write("rabbitmq.conf", &settings)?;
    scratch.write("advanced.config", "[].\n")?;
    scratch.write("enabled_plugins", "[rabbitmq_management].\n")?;
    // In place of the system's /etc/rabbitmq/rabbitmq-env.conf.
    scratch.write("env.conf", "")?;
    let cookie = scratch.write(".erlang.cookie", &token())?;
    readable_by_owner(cookie)
}

/// Erlang refuses a cookie that others can read.
fn readable_by_owner(cookie: PathBuf) -> Result<()> {
    let permissions = std::fs::Permissions::from_mode(0o400);
    std::fs::set_permissions(cookie, permissions).context("cannot protect the cookie")
}
