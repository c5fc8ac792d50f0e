//! Each check refuses with its code, in the order of the contract.

use hmac_propagator::auth::RefusalCode;
use hmac_propagator::verify::Presented;

use crate::caller::{Call, Http, NOW, SKEW, Still, hash, record};

#[tokio::test]
async fn a_right_request_is_let_through_with_its_client() {
    let http = Http::start().await;
    http.put_hash("orders", &hash('a')).await;
    let mut call = Call::signed("  orders ", &hash('a'));
    let verified = call.to(&http.verifier().build()).await.unwrap();
    assert_eq!(verified.client_id.as_str(), "orders");
    call = Call::signed("orders", &hash('a'));
    call.signature = call.signature.to_uppercase();
    assert_eq!(call.refusal(&http.verifier().build()).await, None);
}

#[tokio::test]
async fn each_check_comes_before_the_ones_behind_it() {
    let http = Http::start().await;
    // Expired, bound to an address, and signed wrongly, all at once: each fault hides the next.
    let faulty = record(&hash('a'), &(NOW - 1).to_string(), r#"["10.0.0.0/8"]"#);
    http.put("faulty", &faulty).await;
    let verifier = http.verifier().build();
    let mut call = Call::signed_at("nobody", &hash('b'), NOW + SKEW + 1);
    assert_eq!(call.refusal(&verifier).await, Some(RefusalCode::TimestampSkew));
    call.timestamp = NOW.to_string();
    assert_eq!(call.refusal(&verifier).await, Some(RefusalCode::UnknownClient));
    call.client = "faulty".into();
    assert_eq!(call.refusal(&verifier).await, Some(RefusalCode::ClientExpired));
    http.put("faulty", &record(&hash('a'), &NOW.to_string(), r#"["10.0.0.0/8"]"#)).await;
    assert_eq!(call.refusal(&verifier).await, Some(RefusalCode::MissingClientIp));
    call = call.coming_from("11.0.0.1");
    assert_eq!(call.refusal(&verifier).await, Some(RefusalCode::ClientIpNotAllowed));
    call = call.coming_from("10.0.0.1");
    assert_eq!(call.refusal(&verifier).await, Some(RefusalCode::BadSignature));
    call.sign(&hash('a'));
    assert_eq!(call.refusal(&verifier).await, None);
    assert_eq!(call.refusal(&verifier).await, Some(RefusalCode::ReplayedNonce));

    let counts = verifier.counts();
    assert_eq!((counts.accepted, counts.refused(RefusalCode::BadSignature)), (1, 1));
    assert_eq!(counts.refused(RefusalCode::InternalError), 0);
}

#[tokio::test]
async fn a_timestamp_is_decimal_and_within_the_window_to_the_millisecond() {
    let http = Http::start().await;
    http.put_hash("c", &hash('a')).await;
    let verifier = http.verifier().build();
    for (timestamp, refusal) in [
        (NOW - SKEW, None),
        (NOW + SKEW, None),
        (NOW - SKEW - 1, Some(RefusalCode::TimestampSkew)),
        (NOW + SKEW + 1, Some(RefusalCode::TimestampSkew)),
        (0, Some(RefusalCode::TimestampSkew)),
        (u64::MAX, Some(RefusalCode::TimestampSkew)),
    ] {
        let call = Call::signed_at("c", &hash('a'), timestamp);
        assert_eq!(call.refusal(&verifier).await, refusal, "{timestamp}");
    }
    for odd in ["0x10", "1e3", " ", "+1700000000000", "-1", "1700000000000.0", "１７", " 17 "] {
        let mut call = Call::signed("c", &hash('a'));
        call.timestamp = odd.into();
        assert_eq!(call.refusal(&verifier).await, Some(RefusalCode::InvalidTimestamp), "{odd}");
    }
}

#[tokio::test]
async fn a_missing_header_is_named_without_asking_the_store() {
    let http = Http::start().await;
    http.redis.kill().await.unwrap();
    let verifier = http.verifier().build();
    let refused = verifier.examine(Presented::default()).unwrap_err();
    assert_eq!(refused.code(), RefusalCode::MissingClientId);
    let late = Call::signed_at("c", &hash('a'), NOW - SKEW - 1);
    assert_eq!(late.refusal(&verifier).await, Some(RefusalCode::TimestampSkew));
}

#[tokio::test]
async fn a_body_that_took_longer_than_the_window_is_refused_after_it_arrived() {
    let http = Http::start().await;
    http.put_hash("c", &hash('a')).await;
    let clock = Still::at(NOW);
    let verifier = http.verifier().clock(clock.clone()).build();
    let call = Call::signed("c", &hash('a'));
    let claim = verifier
        .examine(Presented {
            client_id: Some("c"),
            signature: Some(&call.signature),
            timestamp: Some(&call.timestamp),
            nonce: Some(&call.nonce),
        })
        .unwrap();
    clock.set(NOW + SKEW + 1);
    let request = hmac_propagator::verify::ReceivedRequest {
        method: call.method,
        target: &call.target,
        body: &call.body,
        client_address: None,
    };
    let refused = verifier.verify_request(&claim, &request).await.unwrap_err();
    assert_eq!(refused.code(), RefusalCode::TimestampSkew);
}

#[tokio::test]
async fn every_part_of_a_request_is_covered_by_its_signature() {
    let http = Http::start().await;
    http.put_hash("c", &hash('a')).await;
    http.put_hash("other", &hash('b')).await;
    let verifier = http.verifier().build();
    let good = Call::signed("c", &hash('a'));
    let changed: [fn(&mut Call); 8] = [
        |call| call.method = "PUT",
        |call| call.target.push('0'),
        |call| call.target = "//".into(),
        |call| call.timestamp = (NOW + 1).to_string(),
        |call| call.nonce.push('0'),
        |call| call.body.push(b' '),
        |call| call.client = "other".into(),
        |call| call.signature.truncate(62),
    ];
    for (index, change) in changed.into_iter().enumerate() {
        let mut call = good.clone();
        change(&mut call);
        assert_eq!(call.refusal(&verifier).await, Some(RefusalCode::BadSignature), "{index}");
    }
    assert_eq!(good.refusal(&verifier).await, None);
}
