//! Every case of every vector file, byte for byte.

use std::path::Path;

use hmac_propagator::auth::{
    AllowList, CanonicalPath, Canonicalizer, ClientAddress, IpRule, RequestToSign, SigningKey,
    body_sha256, body_sha256_lossy, hash_secret_text, message_sha256,
};
use hmac_propagator::secret::SecretToken;
use serde_json::Value;

/// The cases of a file, each with its id. A file without cases is a failure, not a pass.
fn cases(file: &str, list: &str) -> Vec<(String, Value)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let cases = all[list].as_array().unwrap();
    assert!(!cases.is_empty(), "{file} has no cases in {list}");
    cases.iter().map(|case| (text_of(case, "id").to_owned(), case.clone())).collect()
}

fn text_of<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("no text in {field} of {case}"))
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn secret_hashes_equal_the_reference() {
    for (id, case) in cases("hash.json", "cases") {
        let token = SecretToken::new(text_of(&case, "secretToken"));
        let hash = hash_secret_text(text_of(&case, "secret"), &token);
        assert_eq!(hash.expose(), text_of(&case, "expectedHex"), "{id}");
    }
}

#[test]
fn lossy_body_digests_equal_the_reference_and_raw_ones_do_for_valid_text() {
    for (id, case) in cases("body.json", "cases") {
        let body = unhex(text_of(&case, "bytesHex"));
        let expected = text_of(&case, "bodySha256");
        assert_eq!(body_sha256_lossy(&body).as_str(), expected, "{id}");
        let same = body_sha256(&body).as_str() == expected;
        assert_eq!(same, std::str::from_utf8(&body).is_ok(), "{id}");
    }
}

#[test]
fn paths_equal_the_reference() {
    for (id, case) in cases("path.json", "cases") {
        let path = CanonicalPath::new(text_of(&case, "input"));
        match case["error"].is_null() {
            true => assert_eq!(path.unwrap().as_str(), text_of(&case, "normalized"), "{id}"),
            false => assert!(path.is_err(), "{id}"),
        }
    }
}

#[test]
fn request_signatures_equal_the_reference_and_verify() {
    for (id, case) in cases("request.json", "cases") {
        let path = CanonicalPath::new(text_of(&case, "path")).unwrap();
        let body = body_sha256(text_of(&case, "body").as_bytes());
        let request = RequestToSign {
            method: text_of(&case, "method"),
            path: &path,
            timestamp_ms: case["timestamp"].as_u64().unwrap(),
            nonce: text_of(&case, "nonce"),
            body: &body,
        };
        let key = SigningKey::from_bytes(text_of(&case, "secret").as_bytes());
        let expected = text_of(&case, "expectedHex");
        assert_eq!(key.sign_request(&request).as_str(), expected, "{id}");
        assert!(key.verify_request(&request, expected), "{id}");
        assert!(key.verify_request(&request, &expected.to_uppercase()), "{id}");
        assert!(!key.verify_request(&request, &expected[1..]), "{id}");
        let later = RequestToSign { timestamp_ms: request.timestamp_ms + 1, ..request };
        assert!(!key.verify_request(&later, expected), "{id}");
    }
}

#[test]
fn message_texts_hashes_and_signatures_equal_the_reference() {
    let canonicalizer = Canonicalizer::new().unwrap();
    for (id, case) in cases("message.json", "cases") {
        let json = text_of(&case, "messageJson");
        let canonical = canonicalizer.text(json).unwrap();
        assert_eq!(canonical, text_of(&case, "canonical"), "{id}");
        let parsed = serde_json::from_str(json).unwrap();
        assert_eq!(canonicalizer.value(&parsed), canonical, "{id}");
        let hash = message_sha256(&canonical);
        assert_eq!(hash.as_str(), text_of(&case, "messageHash"), "{id}");
        let client = text_of(&case, "clientId");
        let key = SigningKey::from_bytes(text_of(&case, "secretHash").as_bytes());
        let expected = text_of(&case, "signature");
        assert_eq!(key.sign_message(client, &hash).as_str(), expected, "{id}");
        assert!(key.verify_message(&format!(" {client}\n"), &hash, expected), "{id}");
        assert!(!key.verify_message("another", &hash, expected), "{id}");
    }
}

#[test]
fn ip_rules_are_stored_or_refused_as_by_the_reference() {
    for (id, case) in cases("ip.json", "rules") {
        let rule = text_of(&case, "rule");
        let list = AllowList::parse(&[rule]);
        assert_eq!(list.is_err(), case["rejected"].as_bool().unwrap(), "{id}");
        assert_eq!(IpRule::parse(rule).is_err(), list.is_err(), "{id}");
        if let Ok(list) = list {
            let stored: Vec<&str> = list.rules().iter().map(IpRule::as_str).collect();
            assert_eq!(Value::from(stored), case["normalized"], "{id}");
        }
    }
}

#[test]
fn ip_addresses_are_allowed_or_not_as_by_the_reference() {
    for (id, case) in cases("ip.json", "matches") {
        let entries = case["allowedIps"].as_array().unwrap();
        let entries: Vec<&str> = entries.iter().map(|entry| entry.as_str().unwrap()).collect();
        let list = AllowList::from_stored(&entries);
        let allowed = match ClientAddress::parse(text_of(&case, "clientIp")) {
            Some(client) => list.allows(client),
            None => !list.is_restricted(),
        };
        assert_eq!(allowed, case["allowed"].as_bool().unwrap(), "{id}");
    }
}
