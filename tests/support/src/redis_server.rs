use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use redis::FromRedisValue;
use tokio::sync::Mutex;

use crate::error::{Context, Error, Result};
use crate::ports::{free_address, free_ports};
use crate::process::{Process, Program, find};
use crate::scratch::Scratch;
use crate::wait::poll;

const START: Duration = Duration::from_secs(30);
const COMMAND: Duration = Duration::from_secs(10);

/// A private Redis server. It holds nothing on disk unless [`RedisOptions`] say so.
pub struct Redis {
    // Above the directory: the server ends before its files go.
    process: Mutex<Option<Process>>,
    options: RedisOptions,
    port: u16,
    bus_port: u16,
    scratch: Scratch,
}

/// How a [`Redis`] is started. The default is a single server without persistence.
#[derive(Clone, Copy, Debug, Default)]
pub struct RedisOptions {
    /// Cluster mode: this one node serves all 16384 slots.
    pub cluster: bool,
    /// Append-only file, written to disk once a second: a restart finds the data again.
    pub persistent: bool,
}

/// What a persistent server had written at one moment.
pub struct SavePoint(Scratch);

/// Where a server keeps its append-only files, below its directory.
const APPENDED: &str = "appendonlydir";

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).context(format_args!("cannot read {}", from.display()))? {
        let entry = entry.context("cannot read a directory")?;
        fs::copy(entry.path(), to.join(entry.file_name())).context("cannot copy a file")?;
    }
    Ok(())
}

impl Redis {
    /// Starts a server without cluster mode and without persistence.
    ///
    /// # Errors
    ///
    /// When Redis is not installed or does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(RedisOptions::default()).await
    }

    /// Starts a server with these options.
    ///
    /// # Errors
    ///
    /// When Redis is not installed or does not start.
    pub async fn start_with(options: RedisOptions) -> Result<Self> {
        let mut last = None;
        // Another process may take a free port between the look and the start.
        for _ in 0..3 {
            let [port, bus_port] = free_ports()?;
            let scratch = Scratch::new()?;
            let redis = Self { process: Mutex::new(None), options, port, bus_port, scratch };
            match redis.launch().await {
                Ok(()) => {
                    if options.cluster {
                        redis.form_cluster().await?;
                    }
                    return Ok(redis);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::new("Redis was not started")))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Its URL, for database 0.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_via(self.address())
    }

    /// The URL for clients that go through a proxy.
    #[must_use]
    pub fn url_via(&self, address: SocketAddr) -> String {
        format!("redis://{address}/")
    }

    /// Runs one command on a connection of its own, for assertions and for faults.
    ///
    /// # Errors
    ///
    /// When the server is away, refuses the command, or answers with another type.
    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        let running = async {
            let client = redis::Client::open(self.url())?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            let mut command = redis::Cmd::new();
            for word in words {
                command.arg(*word);
            }
            command.query_async(&mut connection).await
        };
        let name = words.first().copied().unwrap_or_default();
        let answer: redis::RedisResult<T> =
            tokio::time::timeout(COMMAND, running).await.context(format_args!("Redis {name}"))?;
        answer.context(format_args!("Redis {name}"))
    }

    /// Deletes all keys.
    ///
    /// # Errors
    ///
    /// When the server is away.
    pub async fn flush_all(&self) -> Result<()> {
        self.command(&["FLUSHALL"]).await
    }

    /// Refuses writes as a replica whose primary is away does (`READONLY`); reads go on.
    ///
    /// # Errors
    ///
    /// When the server is away or in cluster mode.
    pub async fn set_read_only(&self, on: bool) -> Result<()> {
        if !on {
            return self.command(&["REPLICAOF", "NO", "ONE"]).await;
        }
        // Nothing listens there, so the data stays as it is.
        let nowhere = free_address()?;
        let (host, port) = (nowhere.ip().to_string(), nowhere.port().to_string());
        self.command(&["REPLICAOF", &host, &port]).await
    }

    /// Refuses writes for want of memory (`OOM`); reads go on.
    ///
    /// # Errors
    ///
    /// When the server is away.
    pub async fn set_out_of_memory(&self, on: bool) -> Result<()> {
        self.command(&["CONFIG", "SET", "maxmemory", if on { "1" } else { "0" }]).await
    }

    /// Ends the server with SIGKILL.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub async fn kill(&self) -> Result<()> {
        let process = self.process.lock().await.take();
        process.ok_or_else(|| Error::new("Redis is not running"))?.kill().await
    }

    /// Remembers what a persistent server has written so far.
    ///
    /// # Errors
    ///
    /// When its file cannot be copied.
    pub fn save_point(&self) -> Result<SavePoint> {
        let saved = Scratch::new()?;
        copy_files(&self.scratch.path().join(APPENDED), saved.path())?;
        Ok(SavePoint(saved))
    }

    /// Ends a persistent server with SIGKILL, and with it all that it has written since then: as a machine
    /// does that goes down before the last second is on its disk.
    ///
    /// # Errors
    ///
    /// When it is not running, or its file cannot be replaced.
    pub async fn kill_and_lose(&self, since: &SavePoint) -> Result<()> {
        self.kill().await?;
        let place = self.scratch.path().join(APPENDED);
        fs::remove_dir_all(&place).context("the append-only file")?;
        fs::create_dir(&place).context("the append-only file")?;
        copy_files(since.0.path(), &place)
    }

    /// Starts it again on the same port after [`kill`](Self::kill); empty unless it is persistent.
    ///
    /// # Errors
    ///
    /// When it is running or does not start.
    pub async fn restart(&self) -> Result<()> {
        self.launch().await?;
        // A persistent node knows its slots; another one has to take them again.
        match self.options {
            RedisOptions { cluster: true, persistent: false } => self.form_cluster().await,
            RedisOptions { cluster: true, persistent: true } => self.wait_for_cluster().await,
            _ => Ok(()),
        }
    }

    /// Stops it with SIGSTOP: connections stay open and nothing answers.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub async fn pause(&self) -> Result<()> {
        let process = self.process.lock().await;
        process.as_ref().ok_or_else(|| Error::new("Redis is not running"))?.pause().await
    }

    /// Lets it go on after [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub async fn resume(&self) -> Result<()> {
        let process = self.process.lock().await;
        process.as_ref().ok_or_else(|| Error::new("Redis is not running"))?.resume().await
    }

    async fn launch(&self) -> Result<()> {
        let mut slot = self.process.lock().await;
        if slot.is_some() {
            return Err(Error::new("Redis is running already"));
        }
        let mut process = Process::start(&self.program()?).await?;
        let pid = process.pid();
        // Whoever else got that port would answer a ping too, but with another process id.
        let ready = process.wait_until_ready(START, || async move {
            let info: Result<String> = self.command(&["INFO"]).await;
            info.is_ok_and(|text| {
                text.contains(&format!("process_id:{pid}\r")) && text.contains("\nloading:0\r")
            })
        });
        ready.await.context("redis-server")?;
        *slot = Some(process);
        Ok(())
    }

    fn program(&self) -> Result<Program> {
        let yes_no = |on: bool| if on { "yes" } else { "no" }.to_owned();
        let mut arguments = Vec::new();
        let mut set = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
        set("port", self.port.to_string());
        set("bind", Ipv4Addr::LOCALHOST.to_string());
        set("dir", self.scratch.path().display().to_string());
        set("save", String::new());
        set("appendonly", yes_no(self.options.persistent));
        set("appendfsync", "everysec".into());
        if self.options.cluster {
            set("cluster-enabled", yes_no(true));
            set("cluster-port", self.bus_port.to_string());
            set("cluster-announce-ip", Ipv4Addr::LOCALHOST.to_string());
            // A node that is killed without persistence must come back with nothing.
            let nodes = if self.options.persistent { "nodes.conf" } else { &crate::ports::token() };
            set("cluster-config-file", nodes.to_owned());
        }
        Ok(Program {
            path: find("redis-server", &["/usr/bin", "/usr/local/bin"], "redis-server")?,
            arguments,
            environment: Vec::new(),
            directory: self.scratch.path().to_owned(),
            output: self.scratch.path().join("output"),
            unprivileged: false,
            farewell: None,
        })
    }

    async fn form_cluster(&self) -> Result<()> {
        let () = self.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await?;
        self.wait_for_cluster().await
    }

    async fn wait_for_cluster(&self) -> Result<()> {
        let formed = poll(START, || async {
            let info: String = self.command(&["CLUSTER", "INFO"]).await.ok()?;
            info.contains("cluster_state:ok").then_some(())
        });
        formed.await.ok_or_else(|| Error::new("the Redis cluster did not form"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn set(redis: &Redis) -> Result<String> {
        redis.command(&["SET", "key", "value"]).await
    }

    async fn get(redis: &Redis) -> Option<String> {
        redis.command(&["GET", "key"]).await.unwrap()
    }

    #[tokio::test]
    async fn a_killed_server_comes_back_empty_on_the_same_port() {
        let redis = Redis::start().await.unwrap();
        set(&redis).await.unwrap();
        redis.kill().await.unwrap();
        assert!(set(&redis).await.is_err());
        redis.restart().await.unwrap();
        assert_eq!(get(&redis).await, None);
    }

    #[tokio::test]
    async fn a_persistent_server_comes_back_with_its_data() {
        let redis = Redis::start_with(RedisOptions { persistent: true, ..Default::default() });
        let redis = redis.await.unwrap();
        set(&redis).await.unwrap();
        redis.kill().await.unwrap();
        redis.restart().await.unwrap();
        assert_eq!(get(&redis).await.as_deref(), Some("value"));
    }

    #[tokio::test]
    async fn a_persistent_server_can_lose_what_came_last() {
        let redis = Redis::start_with(RedisOptions { persistent: true, ..Default::default() });
        let redis = redis.await.unwrap();
        set(&redis).await.unwrap();
        let point = redis.save_point().unwrap();
        let _: String = redis.command(&["SET", "key", "other"]).await.unwrap();
        redis.kill_and_lose(&point).await.unwrap();
        redis.restart().await.unwrap();
        assert_eq!(get(&redis).await.as_deref(), Some("value"));
    }

    #[tokio::test]
    async fn a_cluster_of_one_serves_every_key_also_after_a_restart() {
        let redis = Redis::start_with(RedisOptions { cluster: true, ..Default::default() });
        let redis = redis.await.unwrap();
        set(&redis).await.unwrap();
        redis.kill().await.unwrap();
        redis.restart().await.unwrap();
        assert_eq!(get(&redis).await, None);
        set(&redis).await.unwrap();
    }

    #[tokio::test]
    async fn refused_writes_leave_reads_working_and_end_when_switched_off() {
        let redis = Redis::start().await.unwrap();
        set(&redis).await.unwrap();
        redis.set_read_only(true).await.unwrap();
        assert!(set(&redis).await.unwrap_err().to_string().contains("read only replica"));
        assert_eq!(get(&redis).await.as_deref(), Some("value"));
        redis.set_read_only(false).await.unwrap();
        redis.set_out_of_memory(true).await.unwrap();
        assert!(set(&redis).await.unwrap_err().to_string().contains("used memory"));
        assert_eq!(get(&redis).await.as_deref(), Some("value"));
        redis.set_out_of_memory(false).await.unwrap();
        set(&redis).await.unwrap();
    }

    #[tokio::test]
    async fn a_paused_server_answers_only_after_it_was_resumed() {
        let redis = Redis::start().await.unwrap();
        redis.pause().await.unwrap();
        let asked = tokio::time::timeout(Duration::from_millis(100), set(&redis)).await;
        assert!(asked.is_err());
        redis.resume().await.unwrap();
        set(&redis).await.unwrap();
    }
}
