//! The layer and its options.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::request::Parts;
use http::uri::PathAndQuery;
use tower_layer::Layer;

use super::receive::FORWARDED_FOR;
use super::service::HmacService;
use crate::auth::{ClientAddress, TrustedProxies};
use crate::verify::Verifier;

/// Lets only requests through whose signature the verifier accepts.
#[derive(Clone)]
#[must_use = "a layer does nothing until a service is put under it"]
pub struct HmacLayer {
    settings: Arc<Settings>,
}

/// The address of a connection, for servers that put it into the extensions of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

type Find<T> = Arc<dyn Fn(&Parts) -> Option<T> + Send + Sync>;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) verifier: Verifier,
    pub(super) body_limit: usize,
    pub(super) body_timeout: Duration,
    proxies: TrustedProxies,
    peer: Find<IpAddr>,
    target: Find<Uri>,
}

impl HmacLayer {
    /// A layer over a verifier: bodies up to 1 MiB, no trusted proxies.
    pub fn new(verifier: Verifier) -> Self {
        let settings = Settings {
            verifier,
            body_limit: 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            proxies: TrustedProxies::default(),
            peer: Arc::new(|parts| parts.extensions.get::<PeerAddress>().map(|peer| peer.0)),
            target: Arc::new(|_| None),
        };
        Self { settings: Arc::new(settings) }
    }

    /// The longest body that is read, in bytes; a longer one is answered with 413. Default: 1 MiB.
    pub fn body_limit(self, bytes: usize) -> Self {
        self.with(|settings| settings.body_limit = bytes)
    }

    /// How long a body may take to arrive; after that the answer is 408. Default: 30 s.
    pub fn body_timeout(self, timeout: Duration) -> Self {
        self.with(|settings| settings.body_timeout = timeout)
    }

    /// Proxies whose `x-forwarded-for` counts. Default: none.
    pub fn trusted_proxies(self, proxies: TrustedProxies) -> Self {
        self.with(|settings| settings.proxies = proxies)
    }

    /// Where the address of the connection is to be found. Default: an extension [`PeerAddress`].
    /// Without an address, credentials that are bound to some are refused.
    pub fn peer(self, find: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.peer = Arc::new(find))
    }

    /// Where the URI is to be found that the client asked for, when it is not (any more) the one of
    /// the request. `None` means that it is.
    pub fn target(self, find: impl Fn(&Parts) -> Option<Uri> + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.target = Arc::new(find))
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl Settings {
    /// Path and query that the client asked for.
    pub(super) fn target<'a>(&self, parts: &'a Parts) -> Cow<'a, str> {
        match (self.target)(parts) {
            None => Cow::Borrowed(path_and_query(&parts.uri)),
            Some(uri) => Cow::Owned(path_and_query(&uri).to_owned()),
        }
    }

    pub(super) fn client_address(&self, parts: &Parts) -> Option<ClientAddress> {
        let forwarded = parts.headers.get_all(&FORWARDED_FOR).iter();
        // What is no text is no address either, and must not be skipped.
        let forwarded = forwarded.map(|value| value.to_str().unwrap_or_default());
        self.proxies.client_address((self.peer)(parts), forwarded)
    }
}

fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default()
}

impl<S> Layer<S> for HmacLayer {
    type Service = HmacService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HmacService::new(inner, self.settings.clone())
    }
}

impl fmt::Debug for HmacLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacLayer").field("settings", &self.settings).finish()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("verifier", &self.verifier)
            .field("body_limit", &self.body_limit)
            .field("body_timeout", &self.body_timeout)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}
