//! Who is signed in on the page.
//!
//! The browser holds a random id and never the token; this process holds the digest of the id. Sessions
//! end by themselves, and there are only so many: a newer one takes the place of the oldest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

/// Sessions at a time.
const MOST: usize = 64;
/// How long one lasts.
const LIFE: Duration = Duration::from_secs(8 * 3600);
/// Notices that wait to be shown.
const NOTICES: usize = 8;

/// The first part of the cookie's name. Browsers keep cookies by host and not by port: the rest names
/// the peer, so that peers on one machine do not sign each other's operators out.
const COOKIE: &str = "propagator_session_";

type Key = [u8; 32];

/// All sessions of this process. Clones share them.
#[derive(Clone)]
pub(crate) struct Sessions {
    cookie: String,
    all: Arc<Mutex<HashMap<Key, Session>>>,
}

struct Session {
    since: Instant,
    csrf: String,
    notices: Vec<String>,
}

/// A session that a request belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(Key);

impl Sessions {
    /// None yet, at the peer of this name.
    pub(crate) fn new(peer: &str) -> Self {
        Self { cookie: format!("{COOKIE}{peer}"), all: Arc::default() }
    }

    /// Starts a session; what the browser is to hold from now on. `None`: no randomness to be had.
    pub(crate) fn start(&self) -> Option<(Ticket, String)> {
        let (id, csrf) = (random()?, random()?);
        let ticket = Ticket(digest(&id));
        let mut sessions = self.sessions();
        sessions.retain(|_, session| session.since.elapsed() < LIFE);
        if sessions.len() >= MOST {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.since);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                sessions.remove(&oldest);
            }
        }
        let session = Session { since: Instant::now(), csrf, notices: Vec::new() };
        sessions.insert(ticket.0, session);
        Some((ticket, id))
    }

    /// The session that a request names, while it lasts.
    pub(crate) fn find(&self, headers: &HeaderMap) -> Option<Ticket> {
        let key = digest(self.presented(headers)?);
        let sessions = self.sessions();
        let session = sessions.get(&key)?;
        (session.since.elapsed() < LIFE).then_some(Ticket(key))
    }

    /// Whether a session goes on.
    pub(crate) fn lasts(&self, ticket: Ticket) -> bool {
        self.sessions().get(&ticket.0).is_some_and(|session| session.since.elapsed() < LIFE)
    }

    pub(crate) fn end(&self, ticket: Ticket) {
        self.sessions().remove(&ticket.0);
    }

    /// What the forms of a session carry.
    pub(crate) fn csrf(&self, ticket: Ticket) -> Option<String> {
        self.sessions().get(&ticket.0).map(|session| session.csrf.clone())
    }

    /// Whether a form was made for this session.
    pub(crate) fn is_csrf(&self, ticket: Ticket, presented: &str) -> bool {
        self.csrf(ticket).is_some_and(|csrf| csrf.as_bytes().ct_eq(presented.as_bytes()).into())
    }

    /// Keeps something to be said on the next page.
    pub(crate) fn note(&self, ticket: Ticket, notice: String) {
        if let Some(session) = self.sessions().get_mut(&ticket.0)
            && session.notices.len() < NOTICES
        {
            session.notices.push(notice);
        }
    }

    /// What is to be said, once.
    pub(crate) fn take_notices(&self, ticket: Ticket) -> Vec<String> {
        let mut sessions = self.sessions();
        let session = sessions.get_mut(&ticket.0);
        session.map(|session| std::mem::take(&mut session.notices)).unwrap_or_default()
    }

    /// Nothing that is done under the lock can leave it half done.
    fn sessions(&self) -> MutexGuard<'_, HashMap<Key, Session>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The header that hands a session to the browser. Scripts cannot read it, and no other site's
    /// page can make a request with it. `Secure` where a proxy says that the browser came over TLS.
    pub(crate) fn hand_over(&self, id: &str, request: &HeaderMap) -> Option<HeaderValue> {
        let tls = request.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
        self.header(id, LIFE.as_secs(), if tls { "; Secure" } else { "" })
    }

    /// The header that takes it back.
    pub(crate) fn take_back(&self) -> Option<HeaderValue> {
        self.header("", 0, "")
    }

    fn header(&self, id: &str, life: u64, more: &str) -> Option<HeaderValue> {
        let name = &self.cookie;
        let text = format!("{name}={id}; Path=/; Max-Age={life}; HttpOnly; SameSite=Strict{more}");
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn presented<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| name.trim() == self.cookie).map(|(_, value)| value.trim())
    }
}

fn random() -> Option<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn digest(text: &str) -> Key {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(id: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let text = format!("theme=dark; propagator_session_a=x; propagator_session_b={id}");
        headers.insert(header::COOKIE, text.parse().unwrap());
        headers
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_found_by_its_id_until_it_ends() {
        let sessions = Sessions::new("b");
        let (ticket, id) = sessions.start().unwrap();
        assert!(sessions.find(&holding(&id)) == Some(ticket) && sessions.lasts(ticket));
        assert!(sessions.find(&holding(&id[1..])).is_none());
        assert!(sessions.find(&HeaderMap::new()).is_none());
        tokio::time::advance(LIFE).await;
        assert!(sessions.find(&holding(&id)).is_none() && !sessions.lasts(ticket));
        let (ticket, id) = sessions.start().unwrap();
        sessions.end(ticket);
        assert!(sessions.find(&holding(&id)).is_none() && !sessions.lasts(ticket));
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_only_so_many_and_the_oldest_goes_first() {
        let sessions = Sessions::new("b");
        let mut ids = Vec::new();
        for _ in 0..=MOST {
            tokio::time::advance(Duration::from_secs(1)).await;
            ids.push(sessions.start().unwrap().1);
        }
        let lasts: Vec<bool> = ids.iter().map(|id| sessions.find(&holding(id)).is_some()).collect();
        assert_eq!(lasts.iter().filter(|lasts| **lasts).count(), MOST);
        assert!(!lasts[0] && lasts[1]);
    }

    #[test]
    fn a_form_counts_for_the_session_that_it_was_made_for() {
        let sessions = Sessions::new("b");
        let (one, other) = (sessions.start().unwrap().0, sessions.start().unwrap().0);
        let csrf = sessions.csrf(one).unwrap();
        assert!(sessions.is_csrf(one, &csrf));
        assert!(!sessions.is_csrf(other, &csrf) && !sessions.is_csrf(one, ""));
    }

    #[test]
    fn a_notice_is_shown_once_and_only_so_many_wait() {
        let sessions = Sessions::new("b");
        let ticket = sessions.start().unwrap().0;
        (0..99).for_each(|n| sessions.note(ticket, n.to_string()));
        assert_eq!(sessions.take_notices(ticket).len(), NOTICES);
        assert!(sessions.take_notices(ticket).is_empty());
    }

    #[test]
    fn the_cookie_is_kept_from_scripts_and_other_sites() {
        let sessions = Sessions::new("b");
        let plain = sessions.hand_over("x", &HeaderMap::new()).unwrap();
        assert!(plain.is_sensitive());
        let text = plain.to_str().unwrap();
        assert!(text.contains("HttpOnly") && text.contains("SameSite=Strict"));
        assert!(!text.contains("Secure"));
        let mut behind_tls = HeaderMap::new();
        behind_tls.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        assert!(
            sessions.hand_over("x", &behind_tls).unwrap().to_str().unwrap().ends_with("; Secure")
        );
    }
}
