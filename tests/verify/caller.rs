//! A client that signs, a clock that stands, and stores to verify over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac_propagator::auth::{
    CanonicalPath, ClientAddress, HexDigest, RefusalCode, RequestToSign, SigningKey, body_sha256,
};
use hmac_propagator::clock::Clock;
use hmac_propagator::id::{ClientId, Track};
use hmac_propagator::secret::SecretHash;
use hmac_propagator::state::{Key, RedisState, StateStore, Transaction, Write};
use hmac_propagator::store::RedisCredentialStore;
use hmac_propagator::verify::{
    Presented, ReceivedRequest, Refused, Verified, Verifier, VerifierBuilder,
};
use hmac_propagator_support::Redis;

pub const NOW: u64 = 1_700_000_000_000;
pub const SKEW: u64 = 300_000;

/// A clock that moves only when told.
#[derive(Clone, Debug)]
pub struct Still(Arc<AtomicU64>);

impl Still {
    pub fn at(now_ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(now_ms)))
    }

    pub fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }
}

impl Clock for Still {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// One request of one client. Every field can be made odd before it is signed or after.
#[derive(Clone)]
pub struct Call {
    pub client: String,
    pub method: &'static str,
    pub target: String,
    pub timestamp: String,
    pub nonce: String,
    pub body: Vec<u8>,
    pub signature: String,
    pub address: Option<ClientAddress>,
}

impl Call {
    /// A request that is right if the client has this hash.
    pub fn signed(client: &str, hash: &str) -> Self {
        Self::signed_at(client, hash, NOW)
    }

    pub fn signed_at(client: &str, hash: &str, timestamp_ms: u64) -> Self {
        let mut call = Self {
            client: client.into(),
            method: "POST",
            target: "/orders?dry=1".into(),
            timestamp: timestamp_ms.to_string(),
            nonce: hmac_propagator::auth::generate_nonce(),
            body: b"{\"item\":7}".to_vec(),
            signature: String::new(),
            address: None,
        };
        call.sign(hash);
        call
    }

    pub fn sign(&mut self, hash: &str) {
        let digest = body_sha256(&self.body);
        self.sign_digest(hash, &digest);
    }

    pub fn sign_digest(&mut self, key: &str, digest: &HexDigest) {
        let request = RequestToSign {
            method: self.method,
            path: &CanonicalPath::new(&self.target).unwrap(),
            timestamp_ms: self.timestamp.parse().unwrap(),
            nonce: &self.nonce,
            body: digest,
        };
        self.signature = SigningKey::from_bytes(key.as_bytes()).sign_request(&request).to_string();
    }

    pub fn coming_from(mut self, address: &str) -> Self {
        self.address = ClientAddress::parse(address);
        self
    }

    pub async fn to(&self, verifier: &Verifier) -> Result<Verified, Refused> {
        let claim = verifier.examine(Presented {
            client_id: Some(&self.client),
            signature: Some(&self.signature),
            timestamp: Some(&self.timestamp),
            nonce: Some(&self.nonce),
        })?;
        let request = ReceivedRequest {
            method: self.method,
            target: &self.target,
            body: &self.body,
            client_address: self.address,
        };
        verifier.verify_request(&claim, &request).await
    }

    /// `None` when it was let through.
    pub async fn refusal(&self, verifier: &Verifier) -> Option<RefusalCode> {
        self.to(verifier).await.err().map(|refused| refused.code())
    }
}

/// Credentials of the track `http` in a Redis of their own.
pub struct Http {
    pub redis: Redis,
    pub state: RedisState,
    pub store: RedisCredentialStore,
}

impl Http {
    pub async fn start() -> Self {
        let redis = Redis::start().await.unwrap();
        let state = RedisState::open(&redis.url()).unwrap();
        let store = RedisCredentialStore::new(state.clone(), Track::Http, "hmac:http");
        Self { redis, state, store }
    }

    pub fn verifier(&self) -> VerifierBuilder {
        Verifier::builder(self.store.clone()).clock(Still::at(NOW))
    }

    /// Writes a record as any implementation might have written it.
    pub async fn put(&self, client: &str, record: &str) {
        put(&self.state, client, record).await;
    }

    pub async fn put_hash(&self, client: &str, hash: &str) {
        self.put(client, &record(hash, "null", "[]")).await;
    }
}

pub async fn put(state: &dyn StateStore, client: &str, record: &str) {
    let write = Write::set(Key::field("hmac:http:clients", client), record);
    state.commit(&[Transaction::default().write(write)]).await.unwrap();
}

pub fn record(hash: &str, expires_at: &str, allowed_ips: &str) -> String {
    format!(
        r#"{{"secretHash":"{hash}","createdAt":1,"updatedAt":1,"expiresAt":{expires_at},"allowedIps":{allowed_ips}}}"#
    )
}

/// A hash of one digit.
pub fn hash(digit: char) -> String {
    digit.to_string().repeat(64)
}

pub fn secret_hash(digit: char) -> SecretHash {
    SecretHash::parse(&hash(digit)).unwrap()
}

pub fn client(id: &str) -> ClientId {
    ClientId::new(id).unwrap()
}
