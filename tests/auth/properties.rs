//! Laws that hold for every input.

use hmac_propagator::auth::{
    AllowList, CanonicalPath, Canonicalizer, ClientAddress, HexDigest, IpRule, RequestToSign,
    SigningKey, body_sha256, message_sha256, parse_timestamp,
};
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::generate::{self, Random};

fn canonicalizer() -> Canonicalizer {
    Canonicalizer::new().unwrap()
}

fn any_signature() -> impl Strategy<Value = (String, String, HexDigest)> {
    (".{0,80}", "[ -~]{0,40}", prop::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(key, nonce, body)| (key, nonce, body_sha256(&body)))
}

proptest! {
    #[test]
    fn canonical_text_of_a_container_is_its_own_canonical_text(seed: u64) {
        let json = generate::message(&mut Random::new(seed));
        let once = canonicalizer().text(&format!("[{json}]")).unwrap();
        prop_assert_eq!(canonicalizer().text(&once).unwrap(), once);
    }

    #[test]
    fn the_order_of_members_does_not_matter(
        members in prop::collection::btree_map("[a-zA-Z0-9_.-]{1,8}", 0..100_u8, 0..20),
        order in any::<prop::sample::Index>(),
    ) {
        let forward: Map<String, Value> =
            members.iter().map(|(key, value)| (key.clone(), Value::from(*value))).collect();
        let mut rotated: Vec<(String, Value)> = forward.clone().into_iter().collect();
        if !rotated.is_empty() {
            let middle = order.index(rotated.len());
            rotated.rotate_left(middle);
            rotated[..middle].reverse();
        }
        let rotated: Map<String, Value> = rotated.into_iter().collect();
        let (forward, rotated) = (Value::Object(forward), Value::Object(rotated));
        prop_assert_eq!(canonicalizer().value(&forward), canonicalizer().value(&rotated));
    }

    #[test]
    fn any_text_has_a_canonical_text_or_an_error(text in ".{0,60}") {
        // A string holds any text, so the error can only come from what is not JSON.
        let quoted = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(canonicalizer().text(&quoted).unwrap(), text.clone());
        let parsed = serde_json::from_str::<Value>(&text);
        prop_assert!(canonicalizer().text(&text).is_ok() || parsed.is_err());
    }

    #[test]
    fn a_canonical_path_is_visible_ascii(target in "(?s).{0,40}") {
        if let Ok(path) = CanonicalPath::new(&format!("/{target}")) {
            let path = path.as_str();
            prop_assert!(path.starts_with('/') && !path.contains('#'), "{}", path);
            prop_assert!(path.bytes().all(|b| (0x21..=0x7e).contains(&b)), "{}", path);
        }
    }

    #[test]
    fn any_rule_that_is_read_reads_the_same_again(rule in "[0-9a-fA-F:./%,\\[\\] ]{0,30}") {
        if let Ok(first) = IpRule::parse(&rule) {
            prop_assert_eq!(&IpRule::parse(first.as_str()).unwrap(), &first);
            let address = first.as_str().split('/').next().unwrap();
            let client = ClientAddress::parse(address).unwrap();
            prop_assert!(first.matches(client));
            prop_assert!(AllowList::parse(&[&rule]).unwrap().allows(client));
        }
    }

    #[test]
    fn a_timestamp_reads_as_the_number_it_shows(number: u64) {
        prop_assert_eq!(parse_timestamp(&number.to_string()), Some(number));
    }

    #[test]
    fn a_signature_verifies_and_no_neighbour_of_it_does(
        (key, nonce, body) in any_signature(),
        timestamp_ms: u64,
        digit in 0..64_usize,
    ) {
        let path = CanonicalPath::new("/a?b=c").unwrap();
        let request = RequestToSign { method: "GET", path: &path, timestamp_ms, nonce: &nonce, body: &body };
        let key = SigningKey::from_bytes(key.as_bytes());
        let signature = key.sign_request(&request).to_string();
        prop_assert!(key.verify_request(&request, &signature));

        let mut spoiled = signature.clone().into_bytes();
        spoiled[digit] = if spoiled[digit] == b'0' { b'1' } else { b'0' };
        prop_assert!(!key.verify_request(&request, &String::from_utf8(spoiled).unwrap()));
        for short in [&signature[..digit], &format!("{signature}0"), &format!(" {signature}")] {
            prop_assert!(!key.verify_request(&request, short));
        }
    }

    #[test]
    fn every_part_of_a_request_is_signed((key, nonce, body) in any_signature(), timestamp_ms: u32) {
        let (path, other_path) =
            (CanonicalPath::new("/a").unwrap(), CanonicalPath::new("/a?b").unwrap());
        let (other_nonce, other_body) = (format!("{nonce}0"), body_sha256(body.as_str().as_bytes()));
        let timestamp_ms = u64::from(timestamp_ms);
        let request = RequestToSign { method: "GET", path: &path, timestamp_ms, nonce: &nonce, body: &body };
        let bytes = key;
        let key = SigningKey::from_bytes(bytes.as_bytes());
        let signature = key.sign_request(&request);
        for changed in [
            RequestToSign { method: "PUT", ..request },
            RequestToSign { path: &other_path, ..request },
            RequestToSign { timestamp_ms: timestamp_ms + 1, ..request },
            RequestToSign { nonce: &other_nonce, ..request },
            RequestToSign { body: &other_body, ..request },
        ] {
            prop_assert!(!key.verify_request(&changed, signature.as_str()), "{:?}", changed);
        }
        let other_key = SigningKey::from_bytes(format!("{bytes}x").as_bytes());
        prop_assert!(!other_key.verify_request(&request, signature.as_str()));
    }

    #[test]
    fn a_signed_message_verifies_for_its_client_and_text_only(
        (key, client, hash) in any_signature(),
        text in ".{0,40}",
    ) {
        let key = SigningKey::from_bytes(key.as_bytes());
        let signature = key.sign_message(&client, &hash);
        prop_assert!(key.verify_message(&client, &hash, &signature.as_str().to_uppercase()));
        prop_assert!(!key.verify_message(&client, &message_sha256(&text), signature.as_str()));
        let another = client + "x";
        prop_assert!(!key.verify_message(&another, &hash, signature.as_str()));
    }
}
