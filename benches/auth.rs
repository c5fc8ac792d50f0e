//! What signing and verifying cost beside the bare HMAC of the same bytes.
//!
//! Own timing instead of a framework: each run is the best of many short rounds, which is what a
//! machine with other work on it can measure; the figures are the median and the spread of several.

#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used)]
#![allow(unreachable_pub, dead_code, reason = "shares files with other benches")]

#[path = "support/report.rs"]
mod report;

use std::hint::black_box;
use std::time::Instant;

use hmac::{Hmac, KeyInit, Mac};
use hmac_propagator::auth::{
    CanonicalPath, Canonicalizer, HexDigest, RequestToSign, SigningKey, body_sha256,
    message_sha256, parse_timestamp,
};
use hmac_propagator::secret::SecretHash;
use report::{Figures, Report};
use sha2::{Digest, Sha256};

const RUNS: u32 = 9;
const ROUNDS: u32 = 50;
const CALLS: u32 = 500;
const TIMESTAMP: &str = "1700000000000";
const NONCE: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
const TARGET: &str = "/api/v1/orders/8d3f?expand=items&limit=50";
const MESSAGE: &str = r#"{"orderId":"8d3f-11","customer":{"name":"A. Person","id":77},"items":[{"sku":"x-1","count":2,"price":19.9},{"sku":"y-2","count":1,"price":5}],"currency":"EUR","paid":true,"note":null,"createdAt":"2026-11-20T12:00:00Z"}"#;

fn main() {
    let hash = SecretHash::parse(&"5a".repeat(32)).unwrap_or_else(|error| panic!("{error}"));
    let mut report = Report::of("auth");
    requests(&mut report, &hash, &[]);
    requests(&mut report, &hash, &[b'x'; 256]);
    requests(&mut report, &hash, &[b'x'; 4096]);
    messages(&mut report, &hash);
    report.end();
}

fn requests(table: &mut Report, hash: &SecretHash, body: &[u8]) {
    let key = SigningKey::from_hash(hash);
    let sign = |key: &SigningKey| with_request(body, |request| key.sign_request(request));
    let signature = sign(&key);
    let payload = with_request(body, |request| request.payload());

    let bare = time(|| {
        // The body is hashed, the key is set, and the payload is authenticated.
        black_box(Sha256::digest(black_box(body)));
        bare_hmac(hash, &payload)
    });
    let mut report = section(table, format!("request of {} bytes", body.len()), bare);
    report("sign", time(|| sign(&SigningKey::from_hash(black_box(hash)))));
    report("sign, key kept", time(|| sign(black_box(&key))));
    report(
        "verify",
        time(|| {
            let key = SigningKey::from_hash(black_box(hash));
            with_request(body, |request| key.verify_request(request, signature.as_str()))
        }),
    );
    report(
        "verify, key kept",
        time(|| with_request(body, |request| key.verify_request(request, signature.as_str()))),
    );
}

/// Everything between the raw parts of a request and its signature.
fn with_request<T>(body: &[u8], use_it: impl FnOnce(&RequestToSign<'_>) -> T) -> T {
    let path = CanonicalPath::new(black_box(TARGET)).unwrap_or_else(|error| panic!("{error}"));
    use_it(&RequestToSign {
        method: black_box("POST"),
        path: &path,
        timestamp_ms: parse_timestamp(black_box(TIMESTAMP)).unwrap_or_default(),
        nonce: black_box(NONCE),
        body: &body_sha256(black_box(body)),
    })
}

fn messages(table: &mut Report, hash: &SecretHash) {
    let key = SigningKey::from_hash(hash);
    let canonicalizer = Canonicalizer::new().unwrap_or_else(|error| panic!("{error}"));
    let canonical = |json| canonicalizer.text(json).unwrap_or_else(|error| panic!("{error}"));
    let parsed: serde_json::Value =
        serde_json::from_str(MESSAGE).unwrap_or_else(|error| panic!("{error}"));
    let text = canonical(MESSAGE);
    let payload = format!("client\n{}", message_sha256(&text));

    let bare = time(|| {
        black_box(Sha256::digest(black_box(text.as_bytes())));
        bare_hmac(hash, &payload)
    });
    let mut report = section(table, format!("message of {} bytes", MESSAGE.len()), bare);
    report(
        "sign",
        time(|| with_message(hash, &text, |key, hash| key.sign_message("client", hash))),
    );
    report(
        "sign, key kept",
        time(|| key.sign_message("client", &message_sha256(black_box(&text)))),
    );
    let signature = key.sign_message("client", &message_sha256(&text));
    let verify =
        |key: &SigningKey, hash: &HexDigest| key.verify_message("client", hash, signature.as_str());
    report("verify", time(|| with_message(hash, &text, verify)));
    report("verify, key kept", time(|| verify(&key, &message_sha256(black_box(&text)))));
    report(
        "serde_json alone, to a value",
        time(|| serde_json::from_str::<serde_json::Value>(black_box(MESSAGE))),
    );
    report("canonical text from JSON", time(|| canonical(black_box(MESSAGE))));
    report("canonical text from a value", time(|| canonicalizer.value(black_box(&parsed))));
    report(
        "sign from JSON, key kept",
        time(|| key.sign_message("client", &message_sha256(&canonical(black_box(MESSAGE))))),
    );
}

/// Everything between a canonical text and its signature.
fn with_message<T>(
    hash: &SecretHash,
    text: &str,
    use_it: impl FnOnce(&SigningKey, &HexDigest) -> T,
) -> T {
    use_it(&SigningKey::from_hash(black_box(hash)), &message_sha256(black_box(text)))
}

fn bare_hmac(hash: &SecretHash, payload: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(black_box(hash.expose().as_bytes()))
        .unwrap_or_else(|error| panic!("{error}"));
    mac.update(black_box(payload.as_bytes()));
    mac.finalize().into_bytes().into()
}

/// Lines of one kind, each beside the bare HMAC of the same bytes.
fn section(table: &mut Report, kind: String, bare: Figures) -> impl FnMut(&str, Figures) {
    table.line(&format!("{kind}: bare SHA-256 and HMAC"), "ns", &bare, "");
    move |what, time| {
        let ratio = format!("{:.2} x", time.median() / bare.median());
        table.line(&format!("{kind}: {what}"), "ns", &time, &ratio);
    }
}

/// Nanoseconds of a call. One run more comes first, to warm up.
fn time<T>(mut call: impl FnMut() -> T) -> Figures {
    let mut round = || {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(call());
        }
        start.elapsed() / CALLS
    };
    let runs = (0..=RUNS).map(|_| (0..ROUNDS).map(|_| round()).min().unwrap_or_default());
    Figures::of(runs.skip(1).map(|best| best.as_secs_f64() * 1e9).collect())
}
