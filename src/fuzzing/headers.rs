//! Requests as a server gets them.

use std::cell::LazyCell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::runtime::{Builder, Runtime};
use tower_layer::Layer;
use tower_service::Service;

use super::{NOW_MS, Standing, now};
use crate::auth::{
    AllowList, CanonicalPath, ClientAddress, RequestToSign, SigningKey, TrustedProxies,
    X_CLIENT_ID, X_NONCE, X_SIGNATURE, X_TIMESTAMP, body_sha256,
};
use crate::cursor::{Cursor, Timestamp};
use crate::http::{HmacLayer, PeerAddress};
use crate::id::{ClientId, EventId, Track};
use crate::secret::SecretHash;
use crate::state::MemoryState;
use crate::store::{
    AllowedIps, Change, CredentialStore, Expiry, MemoryCredentialStore, VersionedChange,
};
use crate::verify::Verifier;

type Received = Request<Full<Bytes>>;

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const PROXIES: [&str; 2] = ["192.0.2.0/24", "2001:db8:ffff::/48"];
const ALLOWED: [&str; 2] = ["10.0.0.0/8", "2001:db8::/32"];
const NONCE: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// Method and target, header lines, an empty line, a body. Only a signature over exactly this
/// request by an address that may lets it through, once; every other answer blames the caller.
pub fn headers(text: &[u8]) {
    let Some(parts) = Parts::read(text) else { return };
    let key = SigningKey::from_hash(&hash());
    let address = client_address(&parts);
    let as_received = Server::new().answer(parts.request());
    if as_received == StatusCode::OK {
        assert!(parts.is_signed_with(&key), "let through without a signature");
    }
    let Some(signed) = parts.signed(&key) else {
        assert_ne!(as_received, StatusCode::OK);
        return;
    };
    let allowed = AllowList::parse(&ALLOWED)
        .is_ok_and(|list| address.is_some_and(|address| list.allows(address)));
    let server = Server::new();
    let expected = if allowed { StatusCode::OK } else { StatusCode::FORBIDDEN };
    assert_eq!(server.answer(signed.request()), expected, "of {address:?}");
    let again = if allowed { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
    assert_eq!(server.answer(signed.request()), again);
    let mut altered = signed;
    altered.body.push(b'x');
    assert_ne!(Server::new().answer(altered.request()), StatusCode::OK);
}

/// A request that can be sent any number of times.
#[derive(Clone)]
struct Parts {
    method: http::Method,
    uri: http::Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Vec<u8>,
}

impl Parts {
    /// `None` when it is something that no server hands on.
    fn read(text: &[u8]) -> Option<Self> {
        let mut rest = text;
        let first = std::str::from_utf8(line(&mut rest)).ok()?;
        let (method, target) = first.split_once(' ')?;
        let mut headers = Vec::new();
        loop {
            let header = line(&mut rest);
            let Some(colon) = header.iter().position(|byte| *byte == b':') else { break };
            let value = header[colon + 1..].trim_ascii();
            let name = HeaderName::from_bytes(&header[..colon]).ok()?;
            headers.push((name, HeaderValue::from_bytes(value).ok()?));
        }
        let (method, uri) = (method.parse().ok()?, target.parse().ok()?);
        Some(Self { method, uri, headers, body: rest.to_vec() })
    }

    fn request(&self) -> Received {
        let mut request = Request::new(Full::from(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        for (name, value) in &self.headers {
            request.headers_mut().append(name.clone(), value.clone());
        }
        request.extensions_mut().insert(PeerAddress(PROXY));
        request
    }

    fn target(&self) -> String {
        self.uri.path_and_query().map(ToString::to_string).unwrap_or_default()
    }

    /// The only value of a header; none when there are several.
    fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| other.as_str() == name);
        let value = values.next().filter(|_| values.next().is_none());
        value.and_then(|(_, value)| std::str::from_utf8(value.as_bytes()).ok())
    }

    fn is_signed_with(&self, key: &SigningKey) -> bool {
        let signature = self.only(X_SIGNATURE).map(str::to_ascii_lowercase);
        let timestamp = self.only(X_TIMESTAMP).and_then(|text| text.parse().ok());
        let (Some(timestamp), Some(nonce)) = (timestamp, self.only(X_NONCE)) else { return false };
        let right = self.signature(key, timestamp, nonce);
        signature.is_some() && signature == right && self.only(X_CLIENT_ID) == Some("webshop")
    }

    fn signature(&self, key: &SigningKey, timestamp_ms: u64, nonce: &str) -> Option<String> {
        let target = self.target();
        let path = CanonicalPath::new(&target).ok()?;
        let body = body_sha256(&self.body);
        let method = self.method.as_str();
        let request = RequestToSign { method, path: &path, timestamp_ms, nonce, body: &body };
        Some(key.sign_request(&request).to_string())
    }

    /// The same request with headers that are in order.
    fn signed(&self, key: &SigningKey) -> Option<Self> {
        let signature = self.signature(key, NOW_MS, NONCE)?;
        let ours = [X_CLIENT_ID, X_TIMESTAMP, X_NONCE, X_SIGNATURE, "content-type"];
        let mut signed = self.clone();
        signed.headers.retain(|(name, _)| !ours.contains(&name.as_str()));
        for (name, value) in [
            (X_CLIENT_ID, "webshop"),
            (X_TIMESTAMP, NOW_MS.to_string().as_str()),
            (X_NONCE, NONCE),
            (X_SIGNATURE, &signature),
        ] {
            signed.headers.push((HeaderName::from_static(name), value.parse().ok()?));
        }
        Some(signed)
    }
}

fn line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|byte| *byte == b'\n');
    let (line, after) = match end {
        Some(end) => (&rest[..end], &rest[end + 1..]),
        None => (*rest, &rest[rest.len()..]),
    };
    *rest = after;
    line
}

/// The address that counts. What stands left of it is hearsay, and so is all of it when the
/// connection is not a proxy's.
fn client_address(parts: &Parts) -> Option<ClientAddress> {
    let Ok(proxies) = TrustedProxies::parse(&PROXIES) else { panic!("rules of this file") };
    let values = parts.headers.iter().filter(|(name, _)| name == "x-forwarded-for");
    let values: Vec<&str> = values.map(|(_, value)| value.to_str().unwrap_or_default()).collect();
    let found = proxies.client_address(Some(PROXY), values.iter().copied());
    let caller = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    assert_eq!(proxies.client_address(Some(caller), values.iter().copied()), Some(caller.into()));
    let is_proxy = |address: ClientAddress| {
        AllowList::parse(&PROXIES).is_ok_and(|proxies| proxies.allows(address))
    };
    if found.is_none_or(|found| !is_proxy(found)) {
        let more = std::iter::once("10.9.9.9, 6.6.6.6").chain(values.iter().copied());
        let more: Vec<&str> = more.collect();
        assert_eq!(proxies.client_address(Some(PROXY), more.into_iter()), found);
    }
    found
}

/// A service that says 200 to whatever is let through.
struct Server(HmacLayer);

impl Server {
    fn new() -> Self {
        let store = MemoryCredentialStore::new(MemoryState::new(), Track::Http, "hmac:http");
        let (Ok(client_id), Ok(event_id), Ok(ts), Ok(allowed), Ok(proxies)) = (
            ClientId::new("webshop"),
            EventId::new("e"),
            Timestamp::new(1.0),
            AllowedIps::parse(&ALLOWED),
            TrustedProxies::parse(&PROXIES),
        ) else {
            panic!("texts of this file")
        };
        let change = Change::Put {
            secret_hash: hash(),
            allowed_ips: Some(allowed),
            expires_at: Expiry::Never,
        };
        let version = Cursor { ts, event_id, source: None };
        let applied = now(store.apply(&[VersionedChange { client_id, version, change }], NOW_MS));
        assert!(applied.iter().all(Result::is_ok));
        let verifier = Verifier::builder(store).clock(Standing).build();
        Self(HmacLayer::new(verifier).trusted_proxies(proxies))
    }

    fn answer(&self, request: Received) -> StatusCode {
        thread_local! {
            /// Only its timer is used.
            static RUNTIME: LazyCell<Option<Runtime>> =
                LazyCell::new(|| Builder::new_current_thread().enable_time().build().ok());
        }
        let is_grpc = request.headers().get("content-type");
        let is_grpc = is_grpc.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        let response = RUNTIME.with(|runtime| {
            let _entered = runtime.as_ref().map(Runtime::enter);
            let Ok(response) = now(self.0.layer(Welcome).call(request));
            response
        });
        let said = response.headers().get("grpc-status");
        let status = match said {
            Some(refused) => {
                assert!(is_grpc && !matches!(refused.as_bytes(), b"0" | b"13"), "{refused:?}");
                StatusCode::UNAUTHORIZED
            }
            None => response.status(),
        };
        assert!(status == StatusCode::OK || status.is_client_error(), "{status}");
        status
    }
}

fn hash() -> SecretHash {
    SecretHash::from_digest(&[0x5a; 32])
}

#[derive(Clone)]
struct Welcome;

impl Service<Received> for Welcome {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Received) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}
