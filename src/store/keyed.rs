//! Credentials and their cursors in a [`StateStore`], in the layout that other implementations
//! share.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::identity::IdentityRecord;
use super::{Applied, Change, Credential, CredentialStore, StoreId, VersionedChange};
use crate::auth::Decimal;
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::id::{ClientId, PeerQueue, Track};
use crate::mutation::cursor_stays;
use crate::secret::SecretHash;
use crate::state::{Decided, Key, MemoryState, StateStore, Write, transact};

/// The credentials of one track in a [`StateStore`].
///
/// With [`RedisState`](crate::state::RedisState) below it is the store that Node services read and
/// write: `<namespace>:clients`, `<namespace>:credentials-backup:<clientId>`, and the cursor at
/// `<state prefix>:last-seen:<track>:<clientId>`.
#[derive(Clone, Debug)]
pub struct KeyedCredentialStore<S> {
    state: S,
    track: Track,
    namespace: String,
    /// Made once, because each verified request needs it.
    records: Arc<str>,
    state_prefix: String,
    backup_ttl: Duration,
}

/// Credentials in Redis, shared with verifiers in any language.
#[cfg(feature = "redis")]
pub type RedisCredentialStore = KeyedCredentialStore<crate::state::RedisState>;

/// Credentials in memory.
pub type MemoryCredentialStore = KeyedCredentialStore<MemoryState>;

impl<S: StateStore> KeyedCredentialStore<S> {
    /// Credentials of a track under a namespace, for example `hmac:http`.
    pub fn new(state: S, track: Track, namespace: impl Into<String>) -> Self {
        let namespace = namespace.into();
        Self {
            state,
            track,
            records: format!("{namespace}:clients").into(),
            namespace,
            state_prefix: crate::state::DEFAULT_PREFIX.into(),
            backup_ttl: Duration::from_secs(600),
        }
    }

    /// How long the previous hash is kept after a change. Default: 600 s.
    #[must_use]
    pub fn backup_ttl(mut self, ttl: Duration) -> Self {
        self.backup_ttl = ttl;
        self
    }

    /// Where cursors stand. Must be the same as the propagator's state prefix. Default:
    /// `propagation`.
    #[must_use]
    pub fn state_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.state_prefix = prefix.into();
        self
    }

    pub(crate) fn record_key(&self, client_id: &ClientId) -> Key {
        Key::field(self.records.clone(), client_id.text())
    }

    pub(crate) fn backup_key(&self, client_id: &ClientId) -> Key {
        Key::value(format!("{}:credentials-backup:{client_id}", self.namespace))
    }

    pub(crate) fn nonce_name(
        &self,
        client_id: &ClientId,
        nonce: &str,
        timestamp_ms: u64,
    ) -> String {
        nonce_name(&self.namespace, client_id, nonce, timestamp_ms)
    }

    pub(crate) fn records_name(&self) -> &str {
        &self.records
    }

    pub(crate) fn state(&self) -> &S {
        &self.state
    }

    fn cursor_key(&self, client_id: &ClientId) -> Key {
        Key::value(format!("{}:last-seen:{}:{client_id}", self.state_prefix, self.track))
    }

    /// Decides one change against what stands there: the outcome, and the writes that make it so.
    fn decide(
        &self,
        change: &VersionedChange,
        read: &[Option<String>],
        now_ms: u64,
    ) -> Decided<Applied> {
        let (record, cursor) = (stored(read, 0), stored(read, 1));
        let held = cursor.and_then(read_cursor);
        let again = held.as_ref() == Some(&change.version);
        if again && is_in_effect(record, &change.change) {
            return (Applied::Already, Vec::new());
        }
        if let Some(held) = held.filter(|held| *held > change.version) {
            return (Applied::Stale(held), Vec::new());
        }
        let client_id = &change.client_id;
        let old = record.and_then(|text| stored_before(text, &change.change));
        let new = Credential::after(old.as_ref(), &change.change, now_ms);
        let mut writes =
            vec![Write::set(self.cursor_key(client_id), write_cursor(&change.version))];
        if cursor_stays(&self.namespace, change.version.source.as_ref().map(PeerQueue::as_str)) {
            writes.clear();
        }
        match (&old, &new) {
            (_, None) => {
                writes.push(Write::remove(self.record_key(client_id)));
                writes.push(Write::remove(self.backup_key(client_id)));
            }
            // What stood there in its place was no decision: it is not kept as the hash before.
            (_, Some(new)) if again => writes.extend(self.put(client_id, None, new)),
            (old, Some(new)) => writes.extend(self.put(client_id, old.as_ref(), new)),
        }
        (Applied::Changed, writes)
    }

    /// The writes that store a record, and keep the hash that it replaces for a while.
    pub(crate) fn put(
        &self,
        client_id: &ClientId,
        old: Option<&Credential>,
        new: &Credential,
    ) -> Vec<Write> {
        let mut writes = vec![Write::set(self.record_key(client_id), new.to_stored())];
        if old.is_none() {
            // Whoever removed the client before may have left its backup: that secret is revoked.
            writes.push(Write::remove(self.backup_key(client_id)));
        }
        let replaced = old.filter(|old| old.secret_hash != new.secret_hash);
        writes.extend(replaced.map(|old| {
            let hash = old.secret_hash.expose();
            Write::set_for(self.backup_key(client_id), hash, self.backup_ttl)
        }));
        writes
    }
}

/// Where a used nonce stands, for verifiers in any language. Put together by hand, because it
/// happens once per request.
pub(crate) fn nonce_name(
    namespace: &str,
    client_id: &ClientId,
    nonce: &str,
    timestamp_ms: u64,
) -> String {
    let timestamp = Decimal::new(timestamp_ms);
    [namespace, ":nonce:", client_id.as_str(), ":", nonce, ":", timestamp.as_str()].concat()
}

#[async_trait]
impl<S: StateStore> CredentialStore for KeyedCredentialStore<S> {
    fn track(&self) -> Track {
        self.track
    }

    async fn get(&self, client_id: &ClientId) -> Result<Option<Credential>, StoreError> {
        match self.state.get(&[self.record_key(client_id)]).await?.pop().flatten() {
            None => Ok(None),
            Some(text) => Credential::from_stored(&text)
                .map(Some)
                .ok_or_else(|| StoreError::permanent("a stored credential has no usable hash")),
        }
    }

    async fn previous(&self, client_id: &ClientId) -> Result<Option<SecretHash>, StoreError> {
        let text = self.state.get(&[self.backup_key(client_id)]).await?.pop().flatten();
        Ok(text.and_then(|text| SecretHash::parse(&text).ok()))
    }

    async fn cursor(&self, client_id: &ClientId) -> Result<Option<Cursor>, StoreError> {
        let text = self.state.get(&[self.cursor_key(client_id)]).await?.pop().flatten();
        Ok(text.as_deref().and_then(read_cursor))
    }

    async fn apply(
        &self,
        changes: &[VersionedChange],
        now_ms: u64,
    ) -> Vec<Result<Applied, StoreError>> {
        transact(
            &self.state,
            changes,
            |change| vec![self.record_key(&change.client_id), self.cursor_key(&change.client_id)],
            |change, read| self.decide(change, read, now_ms),
        )
        .await
    }

    async fn identify(&self, fresh: &StoreId) -> Result<Option<StoreId>, StoreError> {
        // Before the record is read: should the server be started anew in between, the record of the
        // old run stays as it was, and the next look sees the new one.
        let server = self.state.incarnation().await?;
        let key = Key::value(format!("{}:store:{}", self.state_prefix, self.track));
        let keys = |()| vec![key.clone()];
        let decide = |(), read: &[Option<String>]| {
            let old: Option<IdentityRecord> =
                stored(read, 0).and_then(|text| serde_json::from_str(text).ok());
            let new = IdentityRecord::after(old.clone(), server.clone(), fresh);
            let changed = old.as_ref() != Some(&new);
            let text = serde_json::to_string(&new).unwrap_or_default();
            let write = changed.then(|| Write::set(key.clone(), text));
            (Some(new.id), write.into_iter().collect())
        };
        let mut identified =
            transact(&self.state, &[()], |()| keys(()), |(), read| decide((), read)).await;
        identified.pop().unwrap_or_else(|| Err(StoreError::permanent("one item, one result")))
    }

    async fn list(
        &self,
        after: Option<String>,
    ) -> Result<(Vec<ClientId>, Option<String>), StoreError> {
        let (fields, next) = self.state.fields(self.records_name(), after).await?;
        let ids = fields.into_iter().filter_map(|(id, _)| ClientId::new(id).ok()).collect();
        Ok((ids, next))
    }
}

/// Whether a record says what a change makes of it. If not, it was altered by somebody who did not go
/// through the cursor: an operator, another program, a restored copy.
fn is_in_effect(record: Option<&str>, change: &Change) -> bool {
    match (record, change) {
        (record, Change::Delete) => record.is_none(),
        (None, Change::Put { .. }) => false,
        (Some(text), Change::Put { .. }) => Credential::from_stored(text).is_some_and(|held| {
            let made = Credential::after(Some(&held), change, held.updated_at);
            made.as_ref() == Some(&held)
        }),
    }
}

/// What a change finds. A hash that is of no use is not kept, but what restricts its use is.
fn stored_before(text: &str, change: &Change) -> Option<Credential> {
    Credential::from_stored(text).or_else(|| match change {
        Change::Put { secret_hash, .. } => Credential::restrictions_from_stored(text, secret_hash),
        Change::Delete => None,
    })
}

fn stored(read: &[Option<String>], index: usize) -> Option<&str> {
    read.get(index).and_then(Option::as_deref)
}

/// A cursor that cannot be read counts as absent: the next version then moves it.
fn read_cursor(text: &str) -> Option<Cursor> {
    serde_json::from_str(text).ok()
}

fn write_cursor(version: &Cursor) -> String {
    serde_json::to_string(version).unwrap_or_default()
}
