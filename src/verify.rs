//! Lets callers through that hold a credential, and nobody else.
//!
//! A [`Verifier`] stands over the credentials of one track. It knows no HTTP types; the tower layer
//! (feature `tower`) and the guides put it into web frameworks.
//!
//! # One round trip, and nothing stale
//! The records of clients that were let through are kept in memory, but nobody is let in on them
//! alone. A signature that is right by the kept record makes one round trip: it reads the record as
//! it is now and takes the nonce. When the two records differ, the one from the store judges anew. So
//! a revoked credential is refused from the moment it is gone, and a nonce is only taken for a
//! signature that is right by a record of that client: nobody can use up the nonces of another one.
//!
//! # Replays
//! A used nonce is kept for as long as its timestamp is accepted, be it stamped into the future, and
//! half a minute longer, for verifiers whose clocks differ. A store that cannot take the nonce means
//! refusal.

mod builder;
mod cache;
mod claim;
mod judge;
mod nonces;
mod observe;
mod port;
mod refusal;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use builder::VerifierBuilder;
pub use claim::{Claim, Presented, ReceivedMessage, ReceivedRequest};
#[cfg(feature = "redis")]
pub use nonces::RedisNonces;
pub use nonces::{KeyedNonces, MemoryNonces, NonceStore, WithNonces};
pub use observe::{VerifierCounts, VerifierEvent, VerifierObserver};
pub use port::{Admission, Admitted, Held, Now, VerifierStore};
pub use refusal::Refused;

use crate::auth::{RefusalCode, whitespace};
use crate::clock::Clock;
use crate::id::{ClientId, Track};
use builder::Options;
use cache::Cache;
use claim::MessageClaim;
use judge::Known;
use observe::Observing;

/// By how much the clocks of verifiers on one store may differ without opening a gap for replays.
const CLOCK_MARGIN: Duration = Duration::from_secs(30);

/// Whose request it is, proven. The tower layer puts it into the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The client.
    pub client_id: ClientId,
    /// The track of its credential.
    pub track: Track,
    /// Which of its hashes it signed with.
    pub key: KeyUsed,
}

/// Which hash of a credential a signature was made with. Exhaustive: one backup is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyUsed {
    /// The one that is in effect.
    Current,
    /// The one before it, while its backup lives. Only with [`VerifierBuilder::overlap`].
    Previous,
}

/// Checks requests and messages against the credentials of one track. Clones share everything.
#[derive(Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn VerifierStore>,
    clock: Arc<dyn Clock>,
    options: Options,
    cache: Cache,
    observing: Observing,
}

impl Verifier {
    /// A verifier over a store, to be configured.
    pub fn builder(store: impl VerifierStore) -> VerifierBuilder {
        VerifierBuilder::new(Arc::new(store))
    }

    /// A verifier with the defaults: 300 s of skew, no overlap, the system's clock.
    pub fn new(store: impl VerifierStore) -> Self {
        Self::builder(store).build()
    }

    /// The track whose credentials are accepted.
    #[must_use]
    pub fn track(&self) -> Track {
        self.inner.store.track()
    }

    /// How many callers were let through and refused so far.
    #[must_use]
    pub fn counts(&self) -> VerifierCounts {
        self.inner.observing.counts()
    }

    /// The checks that need neither the store nor the body, so that a body need not be read for a
    /// request that is refused anyway.
    ///
    /// # Errors
    /// The first of the headers that is missing, malformed or out of time.
    pub fn examine(&self, presented: Presented<'_>) -> Result<Claim, Refused> {
        let examined = Claim::read(presented).and_then(|claim| {
            self.in_time(&claim, self.now_ms())?;
            Ok(claim)
        });
        examined.map_err(|code| self.refuse(Refused::new(code)))
    }

    /// The other checks, in the contract's order: credential, expiry, address, signature, nonce.
    ///
    /// # Errors
    /// Why the request is refused. `INTERNAL_ERROR` when the store failed.
    ///
    /// # Cancellation
    /// A dropped call may have used up the nonce; the client signs anew.
    pub async fn verify_request(
        &self,
        claim: &Claim,
        request: &ReceivedRequest<'_>,
    ) -> Result<Verified, Refused> {
        let outcome = self.request_outcome(claim, request).await;
        self.conclude(claim.client_id.as_ref(), outcome)
    }

    /// Checks a message. A message carries neither timestamp nor nonce, so the same one is accepted
    /// again: recognising repetition is the receiver's part. A credential that is bound to addresses
    /// needs the sender's address here too.
    ///
    /// # Errors
    /// Why the message is refused. `INTERNAL_ERROR` when the store failed.
    ///
    /// # Cancellation
    /// Safe: nothing is written.
    pub async fn verify_message(&self, message: &ReceivedMessage<'_>) -> Result<Verified, Refused> {
        let client_id = message.client_id.and_then(|id| whitespace::trim(id).parse().ok());
        let outcome = self.message_outcome(client_id.as_ref(), message).await;
        self.conclude(client_id.as_ref(), outcome)
    }

    async fn request_outcome(
        &self,
        claim: &Claim,
        request: &ReceivedRequest<'_>,
    ) -> Result<KeyUsed, Refused> {
        // Again, because reading the body took its time: by now the nonce of a copy may have been
        // forgotten.
        let now_ms = self.now_ms();
        self.in_time(claim, now_ms)?;
        let client_id = claim.client_id.as_ref().ok_or(RefusalCode::UnknownClient)?;
        let question = judge::Question::request(claim, request, self.inner.options.lossy_bodies);
        // What is kept only decides whether to ask for admission at once. A refusal is always judged
        // by what the store holds now.
        let (known, key, kept) = match self.kept(client_id, &question, now_ms) {
            Some((known, key)) => (known, key, true),
            None => {
                let known = self.look_up(client_id).await?;
                let key = known.judge(&question, self.now_ms())?;
                (known, key, false)
            }
        };
        let (now, key) = self.admit(claim, client_id, (&known, key), &question, now_ms).await?;
        // What is kept already is not put again: somebody may have removed it meanwhile.
        if let Some(known) = now.or_else(|| (!kept).then_some(known)) {
            self.inner.cache.put(client_id, known);
        }
        Ok(key)
    }

    async fn message_outcome(
        &self,
        client_id: Option<&ClientId>,
        message: &ReceivedMessage<'_>,
    ) -> Result<KeyUsed, Refused> {
        let claim = MessageClaim::read(message)?;
        let question = judge::Question::message(&claim, message);
        let client_id = client_id.ok_or(RefusalCode::UnknownClient)?;
        let known = self.look_up(client_id).await?;
        Ok(known.judge(&question, self.now_ms())?)
    }

    fn now_ms(&self) -> u64 {
        self.inner.clock.now_ms()
    }

    fn in_time(&self, claim: &Claim, now_ms: u64) -> Result<(), RefusalCode> {
        let skew = now_ms.abs_diff(claim.timestamp_ms);
        if skew > self.inner.options.max_skew_ms {
            return Err(RefusalCode::TimestampSkew);
        }
        Ok(())
    }

    async fn look_up(&self, client_id: &ClientId) -> Result<Arc<Known>, Refused> {
        let held = self.inner.store.look_up(client_id, self.inner.options.overlap).await;
        self.known(client_id, held.map_err(Refused::store)?)
    }

    /// The kept record, when the signature is right by it.
    fn kept(
        &self,
        client_id: &ClientId,
        question: &judge::Question<'_>,
        now_ms: u64,
    ) -> Option<(Arc<Known>, KeyUsed)> {
        let known = self.inner.cache.get(client_id)?;
        let key = known.judge(question, now_ms).ok()?;
        Some((known, key))
    }

    /// Takes the nonce and judges by what the store holds in that moment; returns that where it
    /// differs from what was known.
    async fn admit(
        &self,
        claim: &Claim,
        client_id: &ClientId,
        (known, key): (&Known, KeyUsed),
        question: &judge::Question<'_>,
        now_ms: u64,
    ) -> Result<(Option<Arc<Known>>, KeyUsed), Refused> {
        // The timestamp is accepted until it lies `max_skew` back. From a moment that is past by now the
        // nonce only lives longer.
        let last = claim.timestamp_ms.saturating_add(self.inner.options.max_skew_ms);
        let left = Duration::from_millis(last.saturating_sub(now_ms));
        let admission = Admission {
            client_id,
            known: known.held(),
            key,
            with_previous: self.inner.options.overlap,
            nonce: &claim.nonce,
            timestamp_ms: claim.timestamp_ms,
            remember_for: left + CLOCK_MARGIN,
        };
        let admitted = self.inner.store.admit(&admission).await.map_err(Refused::store)?;
        let (now, key) = match admitted.now {
            Now::Same => (None, key),
            Now::Changed(held) => {
                let now = self.known(client_id, held)?;
                let key = now.judge(question, self.now_ms())?;
                (Some(now), key)
            }
        };
        if !admitted.unused {
            return Err(RefusalCode::ReplayedNonce.into());
        }
        Ok((now, key))
    }

    /// What is held, made ready; the client is unknown when nothing is.
    fn known(&self, client_id: &ClientId, held: Option<Held>) -> Result<Arc<Known>, Refused> {
        match held {
            Some(held) => Ok(Arc::new(Known::new(held))),
            None => {
                self.inner.cache.remove(client_id);
                Err(RefusalCode::UnknownClient.into())
            }
        }
    }

    fn conclude(
        &self,
        client_id: Option<&ClientId>,
        outcome: Result<KeyUsed, Refused>,
    ) -> Result<Verified, Refused> {
        match (client_id, outcome) {
            (Some(client_id), Ok(key)) => {
                let track = self.track();
                let verified = Verified { client_id: client_id.clone(), track, key };
                self.inner.observing.accepted(&verified);
                Ok(verified)
            }
            // Without an id nothing is accepted; the code says what that means.
            (None, Ok(_)) => Err(self.refuse(RefusalCode::UnknownClient.into())),
            (client_id, Err(refused)) => Err(self.refuse(refused.of(client_id))),
        }
    }

    fn refuse(&self, refused: Refused) -> Refused {
        self.inner.observing.refused(self.track(), &refused);
        refused
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("store", &self.inner.store)
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}
