//! State in Redis, shared by all replicas of a peer.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{
    Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError, Script,
    ServerErrorKind, Value,
};
use tokio::runtime::Handle;

use super::{Committed, FieldPage, Key, StateStore, Transaction};
use crate::error::{Error, Result, StoreError};

mod batch;
mod claims;

use batch::Ask;
use claims::Claims;

/// How patiently Redis is used. Callers retry with backoff of their own, so these stay short: a
/// refused connection fails within a second, a silent server within a few.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RedisOptions {
    /// Bound for one answer, and for the wait to be sent where callers share a round trip. Default:
    /// 3 s.
    pub response_timeout: Duration,
    /// Bound for one attempt to connect. Default: 1 s.
    pub connect_timeout: Duration,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { response_timeout: Duration::from_secs(3), connect_timeout: Duration::from_secs(1) }
    }
}

/// State in one Redis server, or in a Redis Cluster whose key names share one hash tag
/// (`docs/redis-layout.md`). Clones share the connection, which reconnects by itself.
#[derive(Clone)]
pub struct RedisState {
    connection: ConnectionManager,
    claims: Claims,
    transact: Script,
}

impl RedisState {
    /// Prepares a connection to `redis://[user:password@]host[:port][/db]`. Connects at the first
    /// use, so that a peer can start while Redis is away. The runtime of the first use carries the
    /// connection: it must be driven for as long as others use it.
    ///
    /// # Errors
    /// `InvalidOptions` when the URL cannot be read, which is not repeated in the error, and outside a
    /// Tokio runtime.
    pub fn open(url: &str) -> Result<Self> {
        Self::open_with(url, RedisOptions::default())
    }

    /// As [`RedisState::open`], with other limits.
    ///
    /// # Errors
    /// As those of [`RedisState::open`].
    pub fn open_with(url: &str, options: RedisOptions) -> Result<Self> {
        let invalid = |_| Error::invalid("Redis URL", "redis://[user:password@]host[:port][/db]");
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(options.connect_timeout))
            .set_response_timeout(Some(options.response_timeout))
            .set_number_of_retries(1)
            .set_pipeline_buffer_size(QUEUED)
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(200));
        let client = url
            .into_connection_info()
            .map(|info| info.set_tcp_settings(tcp_settings(options)))
            .and_then(redis::Client::open)
            .map_err(invalid)?;
        // The client would panic.
        let outside = |_| Error::invalid("RedisState::open", "to be called within a Tokio runtime");
        Handle::try_current().map_err(outside)?;
        let connection = client.get_connection_manager_lazy(config).map_err(invalid)?;
        let claims = Claims::new(connection.clone());
        Ok(Self { connection, claims, transact: Script::new(include_str!("transact.lua")) })
    }

    /// The server's clock, in milliseconds since the epoch.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn time_ms(&self) -> Result<u64, StoreError> {
        let (seconds, micros): (u64, u64) = redis::cmd("TIME")
            .query_async(&mut self.connection.clone())
            .await
            .map_err(store_error)?;
        Ok(seconds.saturating_mul(1000).saturating_add(micros / 1000))
    }
}

impl fmt::Debug for RedisState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisState").finish_non_exhaustive()
    }
}

#[async_trait]
impl StateStore for RedisState {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<String>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (commands, order) = reads(keys);
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command);
        }
        let replies: Vec<Vec<Option<String>>> =
            pipeline.query_async(&mut self.connection.clone()).await.map_err(store_error)?;
        Ok(in_order(replies, &order))
    }

    async fn commit(&self, transactions: &[Transaction]) -> Result<Vec<Committed>, StoreError> {
        if transactions.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = self.transact.prepare_invoke();
        call.arg(transactions.len());
        for transaction in transactions {
            call.arg(transaction.checks.len()).arg(transaction.writes.len());
            for check in &transaction.checks {
                call.key(&*check.key.name).arg(place(&check.key)).arg(operand(&check.expected));
            }
            for write in &transaction.writes {
                let ttl = write.ttl.map_or(0, |ttl| ttl.as_millis().max(1));
                call.key(&*write.key.name)
                    .arg(place(&write.key))
                    .arg(operand(&write.value))
                    .arg(ttl.to_string());
            }
        }
        let results: Vec<Value> =
            call.invoke_async(&mut self.connection.clone()).await.map_err(store_error)?;
        results.into_iter().map(committed).collect()
    }

    /// Plain commands, sent together: they cost the server a tenth of a script. They are not atomic
    /// together, and need not be, since what was read is not what the name depends on.
    async fn read_and_claim(
        &self,
        keys: &[Key],
        name: String,
        ttl: Duration,
    ) -> Result<(Vec<Option<String>>, bool), StoreError> {
        self.claims.send(Ask::new(keys, name, ttl)).await
    }

    async fn fields(&self, hash: &str, after: Option<String>) -> Result<FieldPage, StoreError> {
        let (next, page): (String, Vec<(String, String)>) = redis::cmd("HSCAN")
            .arg(hash)
            .arg(after.as_deref().unwrap_or("0"))
            .arg("COUNT")
            .arg(500)
            .query_async(&mut self.connection.clone())
            .await
            .map_err(store_error)?;
        Ok((page, (next != "0").then_some(next)))
    }

    async fn incarnation(&self) -> Result<Option<String>, StoreError> {
        let mut info = redis::cmd("INFO");
        let answer: Result<String, _> =
            info.arg("server").query_async(&mut self.connection.clone()).await;
        match answer {
            Ok(info) => Ok(run_id(&info)),
            // A user that may not ask does without.
            Err(error) if store_error(error.clone()).is_transient() => Err(store_error(error)),
            Err(_) => Ok(None),
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        redis::cmd("PING").query_async(&mut self.connection.clone()).await.map_err(store_error)
    }
}

/// The random name that a server gives itself when it starts.
fn run_id(info: &str) -> Option<String> {
    let line = info.lines().find_map(|line| line.strip_prefix("run_id:"))?;
    Some(line.trim().to_owned()).filter(|id| !id.is_empty())
}

/// A connection whose other end vanished without a word is given up after two answers' time, and a
/// new one is made. Without this the system would go on trying for a quarter of an hour.
fn tcp_settings(options: RedisOptions) -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(options.response_timeout * 2);
    let _ = options;
    settings
}

/// One `MGET` for plain keys and one `HMGET` per hash, with the index in `keys` of each value that
/// comes back.
fn reads(keys: &[Key]) -> (Vec<Cmd>, Vec<usize>) {
    let mut order = Vec::with_capacity(keys.len());
    let mut hashes: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
    let mut plain = redis::cmd("MGET");
    for (index, key) in keys.iter().enumerate() {
        match &key.field {
            Some(field) => hashes.entry(&key.name).or_default().push((index, field)),
            None => {
                plain.arg(&*key.name);
                order.push(index);
            }
        }
    }
    let mut commands = Vec::with_capacity(hashes.len() + 2);
    if !order.is_empty() {
        commands.push(plain);
    }
    for (name, fields) in hashes {
        let mut command = redis::cmd("HMGET");
        command.arg(name);
        for (index, field) in fields {
            command.arg(field);
            order.push(index);
        }
        commands.push(command);
    }
    (commands, order)
}

/// The values in the order in which their keys were asked for.
fn in_order(replies: Vec<Vec<Option<String>>>, order: &[usize]) -> Vec<Option<String>> {
    let mut values = vec![None; order.len()];
    for (value, index) in replies.into_iter().flatten().zip(order) {
        values[*index] = value;
    }
    values
}

fn place(key: &Key) -> String {
    key.field.as_ref().map_or_else(|| "v".into(), |field| format!("f{field}"))
}

fn operand(value: &Option<String>) -> String {
    value.as_ref().map_or_else(|| "n".into(), |value| format!("s{value}"))
}

fn committed(result: Value) -> Result<Committed, StoreError> {
    match result {
        Value::Int(1) => Ok(Committed::Done),
        Value::Int(_) => Ok(Committed::Conflict),
        other => {
            let text = String::from_redis_value(other).map_err(|_| {
                StoreError::permanent("Redis answered the script with another type")
            })?;
            if is_permanent(&text) {
                return Ok(Committed::Refused(text));
            }
            Err(StoreError::transient(text))
        }
    }
}

/// What a server says when the same request will fail again. All else passes: loading, out of
/// memory, read-only, a proxy's own words.
const PERMANENT_CODES: [&str; 4] = ["WRONGTYPE", "CROSSSLOT", "NOPERM", "ERR"];

/// Servers before version 7 put the place in the script before the code.
fn is_permanent(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| PERMANENT_CODES.contains(&word))
}

/// How many requests may wait for the connection; beyond that callers wait before it. More than the
/// default of 50, below which a busy verifier's tasks wake each other for nothing.
const QUEUED: usize = 1024;

fn store_error(error: RedisError) -> StoreError {
    let transient = match error.kind() {
        ErrorKind::Server(ServerErrorKind::CrossSlot | ServerErrorKind::NoPerm) => false,
        ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::ExecAbort) => false,
        // In a pipeline the code stands in the text only.
        ErrorKind::Extension => !is_permanent(&error.to_string()),
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse | ErrorKind::InvalidClientConfig => {
            false
        }
        // Unreachable, timed out, loading, read-only, refused authentication: nothing may be lost
        // over it, so it is tried again.
        _ => true,
    };
    let made = if transient {
        StoreError::transient("Redis cannot serve now")
    } else {
        StoreError::permanent("Redis refuses the request")
    };
    made.with_source(error)
}
