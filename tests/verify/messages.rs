//! Messages, verified over the credentials of their track.

use hmac_propagator::auth::{
    Canonicalizer, ClientAddress, HexDigest, RefusalCode, SigningKey, message_sha256,
};
use hmac_propagator::verify::{ReceivedMessage, Verifier};

use crate::caller::{Http, NOW, hash, record};

struct Message {
    client: Option<&'static str>,
    signature: String,
    hash: HexDigest,
    address: Option<ClientAddress>,
}

impl Message {
    fn signed(client: &'static str, json: &str, key: &str) -> Self {
        let hash = message_sha256(&Canonicalizer::new().unwrap().text(json).unwrap());
        let signature = SigningKey::from_bytes(key.as_bytes()).sign_message(client, &hash);
        Self { client: Some(client), signature: signature.to_string(), hash, address: None }
    }

    async fn refusal(&self, verifier: &Verifier) -> Option<RefusalCode> {
        let message = ReceivedMessage {
            client_id: self.client,
            signature: Some(&self.signature),
            message_hash: &self.hash,
            client_address: self.address,
        };
        verifier.verify_message(&message).await.err().map(|refused| refused.code())
    }
}

#[tokio::test]
async fn a_message_is_let_through_however_its_keys_were_ordered() {
    let http = Http::start().await;
    http.put_hash("c", &hash('a')).await;
    let verifier = http.verifier().build();
    let sent = Message::signed(" c ", r#"{"b":1.0,"a":"x"}"#, &hash('a'));
    assert_eq!(sent.refusal(&verifier).await, None);
    // No nonce: the same message again is the receiver's concern.
    assert_eq!(sent.refusal(&verifier).await, None);
    let reordered = Message::signed("c", r#"{"a":"x", "b":1}"#, &hash('a'));
    assert_eq!(reordered.signature, sent.signature);
    let other = Message { signature: sent.signature, ..Message::signed("c", "{}", &hash('a')) };
    assert_eq!(other.refusal(&verifier).await, Some(RefusalCode::BadSignature));
}

#[tokio::test]
async fn messages_are_refused_with_the_codes_of_requests() {
    let http = Http::start().await;
    http.put("late", &record(&hash('a'), &(NOW - 1).to_string(), "[]")).await;
    http.put("bound", &record(&hash('a'), "null", r#"["10.0.0.1"]"#)).await;
    let verifier = http.verifier().build();
    let mut message = Message::signed("late", "1", &hash('a'));
    assert_eq!(message.refusal(&verifier).await, Some(RefusalCode::ClientExpired));
    message.client = Some("nobody");
    assert_eq!(message.refusal(&verifier).await, Some(RefusalCode::UnknownClient));
    message.client = Some(" ");
    assert_eq!(message.refusal(&verifier).await, Some(RefusalCode::MissingClientId));
    message.client = None;
    assert_eq!(message.refusal(&verifier).await, Some(RefusalCode::MissingClientId));
    message = Message::signed("bound", "1", &hash('a'));
    assert_eq!(message.refusal(&verifier).await, Some(RefusalCode::MissingClientIp));
    message.address = ClientAddress::parse("10.0.0.2");
    assert_eq!(message.refusal(&verifier).await, Some(RefusalCode::ClientIpNotAllowed));
    message.address = ClientAddress::parse("10.0.0.1");
    assert_eq!(message.refusal(&verifier).await, None);
    message.signature.clear();
    assert_eq!(message.refusal(&verifier).await, Some(RefusalCode::MissingSignature));
    http.redis.kill().await.unwrap();
    message = Message::signed("bound", "1", &hash('a'));
    assert_eq!(message.refusal(&verifier).await, Some(RefusalCode::InternalError));
}
