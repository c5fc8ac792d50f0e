//! Odd clients, odd lists and odd bodies.

use hmac_propagator::auth::{RefusalCode, body_sha256_lossy};

use crate::caller::{Call, Http, hash, record};

#[tokio::test]
async fn ids_that_could_reach_into_other_keys_reach_nothing() {
    let http = Http::start().await;
    http.put_hash("c", &hash('a')).await;
    let verifier = http.verifier().build();
    Call::signed("c", &hash('a')).to(&verifier).await.unwrap();
    let before: u64 = http.redis.command(&["DBSIZE"]).await.unwrap();
    for odd in
        ["__proto__", "c:x", "c\n", "c\0", "*", "clients", &"c".repeat(10_000), "é", "c\u{85}"]
    {
        let mut call = Call::signed(odd, &hash('a'));
        let refusal = call.refusal(&verifier).await;
        // A line end around an id is trimmed, as in the deployed verifiers.
        let expected = (odd != "c\n").then_some(RefusalCode::UnknownClient);
        assert_eq!(refusal, expected, "{odd:?}");
        call.signature = "0".repeat(64);
    }
    let after: u64 = http.redis.command(&["DBSIZE"]).await.unwrap();
    assert_eq!(after, before + 1);
}

#[tokio::test]
async fn a_stored_list_of_which_nothing_is_valid_denies() {
    let http = Http::start().await;
    let verifier = http.verifier().build();
    for list in [r#"["10.0.0.0/33"]"#, "[7]", r#""10.0.0.1""#, r#"[""]"#, "{}", "true"] {
        http.put("c", &record(&hash('a'), "null", list)).await;
        let call = Call::signed("c", &hash('a')).coming_from("10.0.0.1");
        let refusal = call.refusal(&verifier).await;
        assert_eq!(refusal, Some(RefusalCode::ClientIpNotAllowed), "{list}");
    }
}

#[tokio::test]
async fn binary_bodies_are_told_apart_unless_lossy_digests_are_asked_for() {
    let http = Http::start().await;
    http.put_hash("c", &hash('a')).await;
    let (strict, lossy) =
        (http.verifier().build(), http.verifier().accept_lossy_body_digests(true).build());
    let mut exact = Call::signed("c", &hash('a'));
    exact.body = vec![0xff];
    exact.sign(&hash('a'));
    assert_eq!(exact.refusal(&strict).await, None);
    let mut as_node = Call { nonce: "n1".into(), ..exact.clone() };
    as_node.sign_digest(&hash('a'), &body_sha256_lossy(&as_node.body));
    assert_eq!(as_node.refusal(&strict).await, Some(RefusalCode::BadSignature));
    assert_eq!(as_node.refusal(&lossy).await, None);
    let mut exact = Call { nonce: "n2".into(), ..exact };
    exact.sign(&hash('a'));
    assert_eq!(exact.refusal(&lossy).await, None);
}
