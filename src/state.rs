//! The port to the state of propagation: a small transactional key-value store.
//!
//! Cursors, revisions and in-flight events are records in it; what they mean is decided in one
//! place above it, so an adapter has nothing to decide.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::StoreError;

mod memory;
#[cfg(feature = "redis")]
mod redis;
mod transact;

pub use memory::MemoryState;
#[cfg(feature = "redis")]
pub use redis::{RedisOptions, RedisState};
pub(crate) use transact::{Decided, transact};

/// Where records stand unless configured: the prefix that Node peers use.
pub(crate) const DEFAULT_PREFIX: &str = "propagation";

/// What stands at a name that was taken.
const CLAIMED: &str = "1";

/// Where a value stands: a key of its own, or a field of a hash. Clones share the texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The key.
    pub name: Arc<str>,
    /// The field, when the key is a hash.
    pub field: Option<Arc<str>>,
}

impl Key {
    /// A key that holds one value.
    pub fn value(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), field: None }
    }

    /// A field of a hash.
    pub fn field(name: impl Into<Arc<str>>, field: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), field: Some(field.into()) }
    }
}

/// What must still be true for a transaction to happen: the key holds exactly this (`None`: nothing).
#[derive(Clone, PartialEq, Eq)]
pub struct Check {
    /// Where.
    pub key: Key,
    /// The expected value.
    pub expected: Option<String>,
}

/// One change of a transaction.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub key: Key,
    /// The new value; `None` removes the key.
    pub value: Option<String>,
    /// How long the value lives; `None`: until it is removed. Only for keys without a field.
    pub ttl: Option<Duration>,
}

/// Values hold secret hashes: only keys are shown.
impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("key", &self.key).finish_non_exhaustive()
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write").field("key", &self.key).finish_non_exhaustive()
    }
}

/// All checks hold and all writes happen, or nothing happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What must still be true.
    pub checks: Vec<Check>,
    /// What then changes.
    pub writes: Vec<Write>,
}

impl Transaction {
    /// Adds a check.
    #[must_use]
    pub fn check(mut self, key: Key, expected: Option<String>) -> Self {
        self.checks.push(Check { key, expected });
        self
    }

    /// Adds a write.
    #[must_use]
    pub fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }
}

impl Write {
    /// A value that stays.
    pub fn set(key: Key, value: impl Into<String>) -> Self {
        Self { key, value: Some(value.into()), ttl: None }
    }

    /// A value that passes.
    pub fn set_for(key: Key, value: impl Into<String>, ttl: Duration) -> Self {
        Self { key, value: Some(value.into()), ttl: Some(ttl) }
    }

    /// A removal.
    #[must_use]
    pub fn remove(key: Key) -> Self {
        Self { key, value: None, ttl: None }
    }
}

/// What became of a transaction. Exhaustive: an adapter has nothing else to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// All checks held and all writes happened.
    Done,
    /// A check did not hold; nothing changed.
    Conflict,
    /// The store refuses this transaction for good, for example because a key is of another type;
    /// nothing changed.
    Refused(String),
}

/// A page of a hash: fields with their values, and where the next page starts.
pub type FieldPage = (Vec<(String, String)>, Option<String>);

/// Holds cursors, revisions and in-flight events, and (through
/// [`KeyedCredentialStore`](crate::store::KeyedCredentialStore)) the credentials they belong to.
///
/// # Cancellation
/// A dropped call may or may not have taken effect; every caller in this crate copes with both.
#[async_trait]
pub trait StateStore: Send + Sync + fmt::Debug + 'static {
    /// The values of some keys, in their order.
    ///
    /// # Errors
    /// Transient when the store cannot be reached now.
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<String>>, StoreError>;

    /// Runs each transaction atomically, in their order, and tells for each what became of it: one
    /// outcome per transaction. One that did not happen does not undo another.
    ///
    /// # Errors
    /// Transient when the store cannot be reached now: then each transaction happened or not.
    async fn commit(&self, transactions: &[Transaction]) -> Result<Vec<Committed>, StoreError>;

    /// Reads some keys and then takes a name that can be taken once: sets it to `1` for a while,
    /// unless it holds something. Tells what was read, and whether the name was free. A store that
    /// can do both in one round trip should: it happens once per verified request.
    ///
    /// # Errors
    /// When the store cannot be reached or refuses the write: then the name was taken or not.
    async fn read_and_claim(
        &self,
        keys: &[Key],
        name: String,
        ttl: Duration,
    ) -> Result<(Vec<Option<String>>, bool), StoreError> {
        let values = self.get(keys).await?;
        let claim = Key::value(name);
        let transaction = Transaction::default()
            .check(claim.clone(), None)
            .write(Write::set_for(claim, CLAIMED, ttl));
        match self.commit(&[transaction]).await?.pop() {
            Some(Committed::Done) => Ok((values, true)),
            Some(Committed::Conflict) => Ok((values, false)),
            Some(Committed::Refused(why)) => Err(StoreError::permanent(why)),
            None => Err(StoreError::permanent("the store did not say what became of a claim")),
        }
    }

    /// A page of a hash's fields, in no order; `after` is what the page before returned. A field
    /// that is there all the while appears at least once.
    ///
    /// # Errors
    /// Transient when the store cannot be reached now.
    async fn fields(&self, hash: &str, after: Option<String>) -> Result<FieldPage, StoreError>;

    /// Names the run of the server that holds the data: another name after each start of it, since a
    /// server that was started anew may lack what it had not stored. `None`: not known, which is what
    /// the provided method says.
    ///
    /// # Errors
    /// Transient when the store cannot be reached now.
    async fn incarnation(&self) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// When it does not.
    async fn ping(&self) -> Result<(), StoreError>;
}
