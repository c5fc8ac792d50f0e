//! What callers ask for and get, and how it is put to the management side.

use crate::error::{Error, Result};
use crate::id::{Actor, ClientId, CredentialKey, PeerQueue, Revision, Track};
use crate::management::{
    Decision, Management, ManagementError, RotateCredential, StoredRestrictions, UpsertCredential,
};
use crate::secret::{ClientSecret, SecretHash};
use crate::store::{AllowedIps, Expiry};

/// Create a credential, or give an existing one a new secret, targets or restrictions.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is passed to `Propagator::ensure`"]
pub struct Ensure {
    pub(crate) key: CredentialKey,
    pub(crate) secret: ClientSecret,
    pub(crate) targets: Vec<PeerQueue>,
    pub(crate) allowed_ips: Option<AllowedIps>,
    pub(crate) expires_at: Expiry,
    pub(crate) actor: Option<Actor>,
}

impl Ensure {
    /// A credential on track `http`, without targets of its own and without restrictions. Targets
    /// and restrictions that it has already stay.
    pub fn new(client_id: ClientId, secret: ClientSecret) -> Self {
        Self {
            key: CredentialKey::new(Track::Http, client_id),
            secret,
            targets: Vec::new(),
            allowed_ips: None,
            expires_at: Expiry::Keep,
            actor: None,
        }
    }

    /// Peers that are to hold it, besides those that hold it already.
    pub fn targets(mut self, targets: impl IntoIterator<Item = PeerQueue>) -> Self {
        self.targets.extend(targets);
        self
    }

    /// Its track. Default: `http`.
    pub fn track(mut self, track: Track) -> Self {
        self.key.track = track;
        self
    }

    /// The addresses that may use it; an empty list allows all. Default: as it is.
    pub fn allowed_ips(mut self, rules: AllowedIps) -> Self {
        self.allowed_ips = Some(rules);
        self
    }

    /// When it expires. Default: as it is, a new one never.
    pub fn expires_at(mut self, expiry: Expiry) -> Self {
        self.expires_at = expiry;
        self
    }

    /// Who asks, for the management side's audit. Default: whom the management side was set up for.
    pub fn actor(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }
}

/// What an ensure did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ensured {
    /// The client.
    pub client_id: ClientId,
    /// Whether the credential is new.
    pub op: EnsureOp,
    /// The decision's revision.
    pub revision: Revision,
}

/// Whether a credential is new. Exhaustive: there is no third case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EnsureOp {
    /// It did not exist, or was revoked.
    Create,
    /// It existed.
    Update,
}

/// Give an existing credential a new secret.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is passed to `Propagator::rotate`"]
pub struct Rotate {
    pub(crate) key: CredentialKey,
    pub(crate) secret: ClientSecret,
    pub(crate) actor: Option<Actor>,
}

impl Rotate {
    /// A new secret for a credential on track `http`.
    pub fn new(client_id: ClientId, secret: ClientSecret) -> Self {
        Self { key: CredentialKey::new(Track::Http, client_id), secret, actor: None }
    }

    /// Its track. Default: `http`.
    pub fn track(mut self, track: Track) -> Self {
        self.key.track = track;
        self
    }

    /// Who asks, for the management side's audit. Default: whom the management side was set up for.
    pub fn actor(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }
}

/// What a rotate did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RotatedSecret {
    /// The client.
    pub client_id: ClientId,
    /// The decision's revision.
    pub revision: Revision,
}

/// Remove a credential, here and at every target that it was ever given to.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is passed to `Propagator::revoke`"]
pub struct Revoke {
    pub(crate) key: CredentialKey,
    pub(crate) targets: Vec<PeerQueue>,
    pub(crate) actor: Option<Actor>,
}

impl Revoke {
    /// Removes a credential on track `http` from this peer and from all targets on record.
    pub fn new(client_id: ClientId) -> Self {
        Self { key: CredentialKey::new(Track::Http, client_id), targets: Vec::new(), actor: None }
    }

    /// Further peers to remove it from, for example one that got it in another way.
    pub fn targets(mut self, targets: impl IntoIterator<Item = PeerQueue>) -> Self {
        self.targets.extend(targets);
        self
    }

    /// Its track. Default: `http`.
    pub fn track(mut self, track: Track) -> Self {
        self.key.track = track;
        self
    }

    /// Who asks, for the management side's audit. Default: whom the management side was set up for.
    pub fn actor(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }
}

/// What a revoke did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revoked {
    /// The client.
    pub client_id: ClientId,
    /// The decision's revision.
    pub revision: Revision,
}

/// A decision, checked and hashed, and who asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) asked: Asked,
    pub(crate) actor: Option<Actor>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Ensure {
        secret_hash: SecretHash,
        plain_secret: Option<ClientSecret>,
        targets: Vec<PeerQueue>,
        allowed_ips: Option<AllowedIps>,
        expires_at: Expiry,
    },
    Rotate {
        secret_hash: SecretHash,
        plain_secret: Option<ClientSecret>,
    },
    Revoke {
        targets: Vec<PeerQueue>,
    },
}

/// What the management side recorded.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) created: bool,
    pub(crate) targets: u64,
    pub(crate) stored: StoredRestrictions,
}

impl Request {
    /// Puts the decision to the management side; `None` when there is no such credential.
    pub(super) async fn record(
        &self,
        management: &dyn Management,
        key: &CredentialKey,
        revision: Revision,
        now_ms: u64,
    ) -> Result<Option<Recorded>, ManagementError> {
        let Self { asked, actor } = self.clone();
        let key = key.clone();
        let (decision, targets) = match asked {
            Asked::Rotate { secret_hash, plain_secret } => {
                let request =
                    RotateCredential { key, revision, secret_hash, plain_secret, actor, now_ms };
                let rotated = management.rotate_credential_secret(request).await?;
                return Ok(rotated.map(|rotated| Recorded {
                    created: false,
                    targets: rotated.targets,
                    stored: rotated.stored,
                }));
            }
            Asked::Ensure { secret_hash, plain_secret, targets, allowed_ips, expires_at } => {
                (Decision::Put { secret_hash, allowed_ips, expires_at, plain_secret }, targets)
            }
            Asked::Revoke { targets } => (Decision::Delete, targets),
        };
        let request = UpsertCredential { key, revision, decision, targets, actor, now_ms };
        let upserted = management.upsert_credential_with_targets(request).await?;
        Ok(Some(Recorded {
            created: upserted.created,
            targets: upserted.targets,
            stored: upserted.stored,
        }))
    }
}

/// Targets, each once.
///
/// # Errors
/// `InvalidOptions` when the own queue is among them.
pub(crate) fn distinct(own: &PeerQueue, mut targets: Vec<PeerQueue>) -> Result<Vec<PeerQueue>> {
    if targets.contains(own) {
        return Err(Error::invalid("targets", "other peers, not this peer's own queue"));
    }
    targets.sort();
    targets.dedup();
    Ok(targets)
}

/// An expiry that the targets can be told: they refuse what their dates cannot hold.
///
/// # Errors
/// `InvalidOptions` beyond [`Expiry::LATEST_MS`].
pub(crate) fn tellable(expiry: Expiry) -> Result<Expiry> {
    match expiry {
        Expiry::At(ms) if ms > Expiry::LATEST_MS => {
            let most = Expiry::LATEST_MS;
            Err(Error::invalid("expiresAt", &format!("milliseconds since the epoch up to {most}")))
        }
        expiry => Ok(expiry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_that_targets_would_refuse_is_not_decided() {
        for fine in [Expiry::Keep, Expiry::Never, Expiry::At(0), Expiry::At(Expiry::LATEST_MS)] {
            assert_eq!(tellable(fine).unwrap(), fine);
        }
        let error = tellable(Expiry::At(Expiry::LATEST_MS + 1)).unwrap_err();
        assert!(error.to_string().starts_with("expiresAt: expected"), "{error}");
    }
}
