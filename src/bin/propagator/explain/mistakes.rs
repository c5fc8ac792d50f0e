//! The mistakes that most wrong signatures come from: each is made on purpose, to see whether it
//! yields the given one.

use hmac::{Hmac, KeyInit, Mac};
use hmac_propagator::auth::{
    HexDigest, body_sha256, body_sha256_lossy, hash_secret_text, message_sha256,
};
use hmac_propagator::secret::SecretToken;
use sha2::Sha256;

use crate::message::Message;
use crate::request::Request;

type Mistake = (&'static str, Vec<u8>);

/// Which mistake yields this signature of a request, in lower case.
pub(super) fn of_request(request: &Request, given: &str) -> Option<&'static str> {
    let payload = request.to_sign().payload();
    found(&request.key, &payload, request_mistakes(request, &payload), given)
}

/// Which mistake yields this signature of a message, in lower case.
pub(super) fn of_message(message: &Message, given: &str) -> Option<&'static str> {
    let payload = message.payload();
    found(&message.key, &payload, message_mistakes(message), given)
}

/// Wrong keys with the right text, then wrong texts with the right key.
fn found(key: &str, payload: &str, texts: Vec<Mistake>, given: &str) -> Option<&'static str> {
    let plain = hash_secret_text(key, &SecretToken::default());
    let keys: [Mistake; 3] = [
        ("it was signed with the bytes of the hash instead of its hexadecimal text", unhex(key)),
        ("it was signed with the SHA-256 of this key", plain.expose().as_bytes().to_vec()),
        ("it was signed with the lower-case text of this key", key.to_ascii_lowercase().into()),
    ];
    let wrong_key = keys.into_iter().find(|(_, key)| hmac(key, payload.as_bytes()) == given);
    let wrong_text = || texts.into_iter().find(|(_, text)| hmac(key.as_bytes(), text) == given);
    wrong_key.or_else(wrong_text).map(|(mistake, _)| mistake)
}

fn request_mistakes(request: &Request, payload: &str) -> Vec<Mistake> {
    let part = |index: usize, text: &str| {
        let mut parts: Vec<&str> = payload.split('\n').collect();
        parts[index] = text;
        parts.join("\n").into_bytes()
    };
    let body = |digest: HexDigest| part(4, digest.as_str());
    let path = request.path.as_str();
    let (timestamp, nonce) = (request.timestamp_ms.to_string(), request.nonce.as_str());
    let seconds = (request.timestamp_ms / 1000).to_string();
    let with_line_end = [request.body.as_slice(), b"\n"].concat();
    let without_line_end = request.body.strip_suffix(b"\n").unwrap_or(&request.body);
    let mut mistakes = vec![
        ("its method is in lower case", part(0, &request.method.to_lowercase())),
        ("its path lacks the query", part(1, path.split('?').next().unwrap_or_default())),
        ("its path is not in canonical form", part(1, &request.target)),
        ("its path has a slash more or less at its end", part(1, &with_other_end(path))),
        ("its timestamp is in seconds", part(2, &seconds)),
        (
            "its timestamp and nonce are in each other's place",
            payload
                .replace(&format!("{timestamp}\n{nonce}"), &format!("{nonce}\n{timestamp}"))
                .into(),
        ),
        ("its parts are joined with | instead of a line feed", payload.replace('\n', "|").into()),
        ("it covers an empty body", body(body_sha256(b""))),
        ("it has nothing in the place of the body's hash", part(4, "")),
        (
            "its body hash was made after replacing what is not UTF-8",
            body(body_sha256_lossy(&request.body)),
        ),
        ("its body has a line end more", body(body_sha256(&with_line_end))),
        ("its body has a line end less", body(body_sha256(without_line_end))),
        ("its text has a line end more", format!("{payload}\n").into_bytes()),
    ];
    if let Ok(text) = std::str::from_utf8(&request.body) {
        mistakes.push(("it covers the body itself instead of its hash", part(4, text)));
    }
    mistakes
}

/// A path with the slash before its query that it lacks, or without the one that it has.
fn with_other_end(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    match path.strip_suffix('/') {
        Some(shorter) => [shorter, query].concat(),
        None => [path, "/", query].concat(),
    }
}

fn message_mistakes(message: &Message) -> Vec<Mistake> {
    let (client, canonical) = (message.client_id.as_str(), message.canonical.as_str());
    let with = |hash: &HexDigest| format!("{client}\n{hash}").into_bytes();
    let hash = &message.hash;
    vec![
        (
            "it joins client and hash with | instead of a line feed",
            format!("{client}|{hash}").into(),
        ),
        ("its client id was not trimmed", with(hash)),
        (
            "it covers the message as written instead of its canonical text",
            with(&message_sha256(&message.json)),
        ),
        (
            "it covers the message as written, trimmed, instead of its canonical text",
            with(&message_sha256(message.json.trim())),
        ),
        (
            "it covers the canonical text instead of its hash",
            format!("{client}\n{canonical}").into(),
        ),
        ("it covers the hash alone", hash.as_str().into()),
        ("its text has a line end more", format!("{client}\n{hash}\n").into()),
    ]
}

/// In hex. A key of no length at all is possible too, so nothing here can fail.
fn hmac(key: &[u8], text: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return String::new();
    };
    mac.update(text);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that the digits stand for; nothing when they are no digits.
fn unhex(text: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(pair).collect::<Option<_>>().unwrap_or_default()
}
