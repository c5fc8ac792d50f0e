//! Runs the pure hot paths a fixed number of times, for `tests/instructions` to count what they
//! execute. Each stands in a function of its own, not inlined, whose name the script looks for.

use std::error::Error;
use std::hint::black_box;

use hmac::{Hmac, KeyInit, Mac};
use hmac_propagator::auth::{
    AllowList, CanonicalPath, Canonicalizer, ClientAddress, HexDigest, RequestToSign, SigningKey,
    body_sha256, hash_client_secret,
};
use hmac_propagator::cursor::{Cursor, Timestamp};
use hmac_propagator::fuzzing;
use hmac_propagator::id::EventId;
use hmac_propagator::secret::{ClientSecret, SecretHash, SecretToken};
use sha2::Sha256;

/// The first calls also fill tables that are made once: many more follow.
const CALLS: u32 = 2000;

const BODY: &[u8] = &[b'x'; 256];
const TARGET: &str = "/api/v1/orders/8d3f?expand=items&limit=50";
const ODD_TARGET: &str = "/api/../v1/%7Eé/./orders?q=a b";
const MESSAGE: &str = r#"{"orderId":"8d3f-11","customer":{"name":"A. Person","id":77},"items":[{"sku":"x-1","count":2,"price":19.9},{"sku":"y-2","count":1,"price":5}],"currency":"EUR","paid":true,"note":null,"createdAt":"2026-11-20T12:00:00Z"}"#;
const EVENT: &[u8] = br#"{"eventId":"11111111-2222-4333-8444-555555555555","ts":1700000000000,"propagationSecret":"the secret of orders","senderAmqpQueue":"authority","op":"credential.update","track":"http","clientId":"webshop","payload":{"secretHash":"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a","allowedIps":["10.0.0.0/8","2001:db8::/32"],"expiresAt":null}}"#;
const RECORD: &str = r#"{"secretHash":"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a","createdAt":1700000000000,"updatedAt":1700000000000,"expiresAt":null,"allowedIps":["10.0.0.0/8","2001:db8::/32"]}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let hash = SecretHash::parse(&"5a".repeat(32))?;
    let key = SigningKey::from_hash(&hash);
    let (secret, pepper) = (ClientSecret::new("correct horse")?, SecretToken::new("pepper"));
    let body = body_sha256(BODY);
    let path = CanonicalPath::new(TARGET)?;
    let request = RequestToSign {
        method: "POST",
        path: &path,
        timestamp_ms: 1_700_000_000_000,
        nonce: "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        body: &body,
    };
    let payload = request.payload();
    let signature = key.sign_request(&request);
    let canonicalizer = Canonicalizer::new()?;
    let rules = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "172.16.0.0/12"];
    let list = AllowList::parse(&rules)?;
    let address = ClientAddress::parse("172.16.4.9").ok_or("an address")?;
    let (older, newer) = (cursor(1.0)?, cursor(2.0)?);

    for _ in 0..CALLS {
        black_box(count_unit(black_box(&hash), black_box(&payload)));
        black_box(count_hash(black_box(&secret), black_box(&pepper)));
        black_box(count_body(black_box(BODY)));
        black_box(count_key(black_box(&hash)));
        black_box(count_sign(black_box(&key), black_box(&request)));
        black_box(count_verify(black_box(&key), black_box(&request), signature.as_str()));
        black_box(count_path(black_box(TARGET)));
        black_box(count_path(black_box(ODD_TARGET)));
        black_box(count_canonical(black_box(&canonicalizer), black_box(MESSAGE)));
        black_box(count_address(black_box("10.0.0.1:1234, 9.9.9.9")));
        black_box(count_allowed(black_box(&list), black_box(address)));
        black_box(count_event(black_box(EVENT)));
        black_box(count_record(black_box(RECORD)));
        black_box(count_cursor(black_box(&older), black_box(&newer)));
    }
    Ok(())
}

fn cursor(ts: f64) -> Result<Cursor, Box<dyn Error>> {
    let event_id = EventId::new("11111111-2222-4333-8444-555555555555")?;
    Ok(Cursor { ts: Timestamp::new(ts)?, event_id, source: None })
}

/// The unit: a key is set and the payload is authenticated, without any of our code.
#[inline(never)]
fn count_unit(hash: &SecretHash, payload: &str) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(hash.expose().as_bytes()).ok()?;
    mac.update(payload.as_bytes());
    Some(mac.finalize().into_bytes().into())
}

#[inline(never)]
fn count_hash(secret: &ClientSecret, token: &SecretToken) -> SecretHash {
    hash_client_secret(secret, token)
}

#[inline(never)]
fn count_body(body: &[u8]) -> HexDigest {
    body_sha256(body)
}

#[inline(never)]
fn count_key(hash: &SecretHash) -> SigningKey {
    SigningKey::from_hash(hash)
}

#[inline(never)]
fn count_sign(key: &SigningKey, request: &RequestToSign<'_>) -> HexDigest {
    key.sign_request(request)
}

#[inline(never)]
fn count_verify(key: &SigningKey, request: &RequestToSign<'_>, signature: &str) -> bool {
    key.verify_request(request, signature)
}

#[inline(never)]
fn count_path(target: &str) -> bool {
    CanonicalPath::new(target).is_ok()
}

#[inline(never)]
fn count_canonical(canonicalizer: &Canonicalizer, json: &str) -> bool {
    canonicalizer.text(json).is_ok()
}

#[inline(never)]
fn count_address(text: &str) -> Option<ClientAddress> {
    ClientAddress::parse(text)
}

#[inline(never)]
fn count_allowed(list: &AllowList, address: ClientAddress) -> bool {
    list.allows(address)
}

#[inline(never)]
fn count_event(body: &[u8]) -> bool {
    fuzzing::is_understood(body)
}

#[inline(never)]
fn count_record(text: &str) -> bool {
    fuzzing::is_credential(text)
}

#[inline(never)]
fn count_cursor(older: &Cursor, newer: &Cursor) -> bool {
    older < newer
}
