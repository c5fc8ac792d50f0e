//! What an observer who sees everything knows: what was decided, what was sent, and which store held
//! what. Checks go by this, never by what the pipelines say of themselves.

use std::collections::{HashMap, HashSet};

use crate::cursor::Cursor;
use crate::id::{CredentialKey, EventId, PeerQueue};
use crate::store::Credential;

/// What a decision makes of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Removed,
    Put { hash: String, allowed_ips: Option<Vec<String>>, expires_at: Option<u64> },
}

/// An event that went out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) source: PeerQueue,
    pub(super) target: PeerQueue,
    pub(super) key: CredentialKey,
    pub(super) revision: u64,
}

type Decision = (PeerQueue, CredentialKey, u64);

#[derive(Debug, Default)]
pub(super) struct Model {
    decisions: HashMap<Decision, Content>,
    events: HashMap<EventId, Sent>,
    /// Peer and decision: its store held it at some time.
    held: HashSet<(PeerQueue, Decision)>,
    /// Events that were answered, and those with an error.
    answered: HashSet<EventId>,
    declined: HashSet<EventId>,
    /// Peers that gave up to answer a source.
    unanswerable: HashSet<(PeerQueue, PeerQueue)>,
}

impl Model {
    pub(super) fn decided(
        &mut self,
        source: &PeerQueue,
        key: &CredentialKey,
        revision: u64,
        content: Content,
    ) -> Result<(), String> {
        let decision = (source.clone(), key.clone(), revision);
        match self.decisions.insert(decision, content.clone()) {
            Some(other) if other != content => Err(format!("two decisions are {revision}")),
            _ => Ok(()),
        }
    }

    pub(super) fn decision(
        &self,
        source: &PeerQueue,
        key: &CredentialKey,
        revision: u64,
    ) -> Option<&Content> {
        self.decisions.get(&(source.clone(), key.clone(), revision))
    }

    pub(super) fn sent(&mut self, event_id: EventId, sent: Sent) -> Result<(), String> {
        match self.events.insert(event_id, sent.clone()) {
            Some(other) if other != sent => Err("one id for two events".to_owned()),
            _ => Ok(()),
        }
    }

    pub(super) fn event(&self, event_id: &EventId) -> Option<&Sent> {
        self.events.get(event_id)
    }

    pub(super) fn answered(&mut self, event_id: &EventId, declined: bool) {
        self.answered.insert(event_id.clone());
        if declined {
            self.declined.insert(event_id.clone());
        }
    }

    pub(super) fn was_answered(&self, event_id: &EventId) -> bool {
        self.answered.contains(event_id)
    }

    pub(super) fn was_declined(&self, event_id: &EventId) -> bool {
        self.declined.contains(event_id)
    }

    pub(super) fn gave_up_on(&mut self, peer: &PeerQueue, source: &PeerQueue) {
        self.unanswerable.insert((peer.clone(), source.clone()));
    }

    pub(super) fn has_given_up_on(&self, peer: &PeerQueue, source: &PeerQueue) -> bool {
        self.unanswerable.contains(&(peer.clone(), source.clone()))
    }

    pub(super) fn has_held(
        &self,
        peer: &PeerQueue,
        source: &PeerQueue,
        key: &CredentialKey,
        revision: u64,
    ) -> bool {
        self.held.contains(&(peer.clone(), (source.clone(), key.clone(), revision)))
    }

    /// A store says that it holds a version now.
    pub(super) fn took_effect(
        &mut self,
        peer: &PeerQueue,
        key: &CredentialKey,
        version: &Cursor,
        held: Option<&Credential>,
    ) -> Result<(), String> {
        let decision = self.decision_of(key, version).ok_or("a version that nobody sent")?;
        let content = self.decisions.get(&decision).ok_or("a version that nobody decided")?;
        if !content.has_hash_of(held) {
            return Err("it does not hold what its cursor says".to_owned());
        }
        self.held.insert((peer.clone(), decision));
        Ok(())
    }

    /// A store that cannot be relied on says so.
    pub(super) fn took_effect_unseen(
        &mut self,
        peer: &PeerQueue,
        key: &CredentialKey,
        version: &Cursor,
    ) {
        let decision = self.decision_of(key, version);
        self.held.extend(decision.map(|decision| (peer.clone(), decision)));
    }

    fn decision_of(&self, key: &CredentialKey, version: &Cursor) -> Option<Decision> {
        let sender = || self.event(&version.event_id).map(|sent| sent.source.clone());
        let source = version.source.clone().or_else(sender)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let revision = version.ts.as_f64() as u64;
        Some((source, key.clone(), revision))
    }
}

impl Content {
    pub(super) fn has_hash_of(&self, held: Option<&Credential>) -> bool {
        match (self, held) {
            (Self::Removed, None) => true,
            (Self::Put { hash, .. }, Some(held)) => held.secret_hash.expose() == hash,
            _ => false,
        }
    }

    /// Whether a store holds exactly this, restrictions and all.
    pub(super) fn is_all_of(&self, held: Option<&Credential>) -> bool {
        let restricted = match (self, held) {
            (Self::Put { allowed_ips, expires_at, .. }, Some(held)) => {
                held.expires_at == *expires_at
                    && allowed_ips.as_ref().is_none_or(|rules| *rules == held.allowed_ips)
            }
            _ => true,
        };
        restricted && self.has_hash_of(held)
    }
}
