//! The parts of the peer that an operator acts for.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac_propagator::id::CredentialKey;
use hmac_propagator::management::sql::{CredentialInfo, SqlManagement};

use super::{Common, failure};
use crate::config::{Config, Purpose};
use crate::fault::Fault;
use crate::peer::Peer;

/// Credentials read at a time.
const PAGE: u32 = 500;

/// Database and stores, opened. Nothing runs.
pub(super) struct Operator {
    pub(super) peer: Peer,
    pub(super) management: SqlManagement,
    pub(super) json: bool,
}

impl Operator {
    /// # Errors
    /// What is wrong with the configuration, or why the database cannot be opened.
    pub(super) async fn open(common: &Common) -> Result<Self, Fault> {
        let config = config(common)?;
        let peer = Peer::assemble(config, &actor()).await?;
        let management = peer.management.clone().ok_or_else(receive_only)?;
        Ok(Self { peer, management, json: common.json })
    }

    /// All credentials that `wanted` lets through, in the order of their keys, at most `limit`; and
    /// whether there are more.
    pub(super) async fn credentials(
        &self,
        limit: usize,
        wanted: impl Fn(&CredentialInfo) -> bool,
    ) -> Result<(Vec<CredentialInfo>, bool), Fault> {
        let mut found = Vec::new();
        let mut after: Option<CredentialKey> = None;
        loop {
            let page = self.management.credentials(after.as_ref(), PAGE).await;
            let page =
                page.map_err(|error| failure::of_operator("cannot read credentials", error))?;
            let Some(last) = page.last() else { return Ok((found, false)) };
            after = Some(last.key.clone());
            for info in page.into_iter().filter(&wanted) {
                if found.len() == limit {
                    return Ok((found, true));
                }
                found.push(info);
            }
        }
    }

    /// One credential.
    pub(super) async fn credential(
        &self,
        key: &CredentialKey,
    ) -> Result<Option<CredentialInfo>, Fault> {
        let found = self.management.credential(key).await;
        found.map_err(|error| failure::of_operator("cannot read the credential", error))
    }
}

/// The configuration as `serve` would have it.
pub(super) fn config(common: &Common) -> Result<Arc<Config>, Fault> {
    Ok(Arc::new(Config::load(&common.config, Purpose::Operate)?))
}

pub(super) fn receive_only() -> Fault {
    Fault::new(
        "this peer is receive-only: DATABASE_URL is not set, so there is nothing to decide about",
    )
}

/// Whom the audit names: the person at the terminal, also behind sudo.
pub(super) fn actor() -> String {
    let names =
        ["SUDO_USER", "USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let user = names.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| "unknown".into());
    let user: String = user.chars().filter(|c| !c.is_control()).take(64).collect();
    format!("cli:{user}")
}

/// Milliseconds since the epoch.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
