//! A nonce lets in once, for as long as its timestamp is accepted.

use std::time::Duration;

use hmac_propagator::auth::RefusalCode;
use hmac_propagator::id::Track;
use hmac_propagator::state::MemoryState;
use hmac_propagator::store::MemoryCredentialStore;
use hmac_propagator::verify::Verifier;

use crate::caller::{Call, Http, NOW, SKEW, Still, hash, put, record};

#[tokio::test(start_paused = true)]
async fn a_request_stamped_into_the_future_cannot_be_replayed_at_any_later_time() {
    for stamped in [NOW + SKEW, NOW + SKEW / 2, NOW, NOW - SKEW] {
        let state = MemoryState::new();
        put(&state, "c", &record(&hash('a'), "null", "[]")).await;
        let store = MemoryCredentialStore::new(state, Track::Http, "hmac:http");
        let clock = Still::at(NOW);
        let verifier = Verifier::builder(store).clock(clock.clone()).build();
        let call = Call::signed_at("c", &hash('a'), stamped);
        assert_eq!(call.refusal(&verifier).await, None);
        for second in 0..=2 * SKEW / 1000 + 2 {
            clock.set(NOW + second * 1000);
            let refusal = call.refusal(&verifier).await.unwrap();
            let passed = NOW + second * 1000 > stamped + SKEW;
            let expected =
                if passed { RefusalCode::TimestampSkew } else { RefusalCode::ReplayedNonce };
            assert_eq!(refusal, expected, "stamped {stamped}, after {second} s");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test]
async fn redis_keeps_a_nonce_under_the_shared_name_beyond_the_end_of_its_window() {
    let http = Http::start().await;
    http.put_hash("c", &hash('a')).await;
    let verifier = http.verifier().build();
    for stamped in [NOW - SKEW, NOW, NOW + SKEW] {
        let call = Call::signed_at("c", &hash('a'), stamped);
        assert_eq!(call.refusal(&verifier).await, None);
        let key = format!("hmac:http:nonce:c:{}:{stamped}", call.nonce);
        let value: Option<String> = http.redis.command(&["GET", &key]).await.unwrap();
        assert_eq!(value.as_deref(), Some("1"));
        let left: u64 = http.redis.command(&["PTTL", &key]).await.unwrap();
        // What has passed since it was written is less than ten of the thirty seconds of margin.
        let window = stamped + SKEW - NOW;
        assert!((window + 20_000..=window + 30_000).contains(&left), "{left} for {window}");
    }
}

#[tokio::test]
async fn a_nonce_that_another_verifier_on_the_same_redis_used_is_refused() {
    let http = Http::start().await;
    http.put_hash("c", &hash('a')).await;
    let (one, other) = (http.verifier().build(), http.verifier().build());
    let call = Call::signed("c", &hash('a'));
    assert_eq!(call.refusal(&one).await, None);
    assert_eq!(call.refusal(&other).await, Some(RefusalCode::ReplayedNonce));

    // As a Node verifier leaves it.
    let call = Call::signed("c", &hash('a'));
    let key = format!("hmac:http:nonce:c:{}:{NOW}", call.nonce);
    let () = http.redis.command(&["SET", &key, "1", "NX", "EX", "300"]).await.unwrap();
    assert_eq!(call.refusal(&one).await, Some(RefusalCode::ReplayedNonce));
}

#[tokio::test]
async fn of_many_copies_at_once_exactly_one_is_let_through() {
    let http = Http::start().await;
    http.put_hash("c", &hash('a')).await;
    let verifier = http.verifier().build();
    for round in 0..20 {
        let call = Call::signed("c", &hash('a'));
        let copies = futures_util::future::join_all((0..16).map(|_| call.refusal(&verifier))).await;
        assert_eq!(copies.iter().filter(|copy| copy.is_none()).count(), 1, "round {round}");
        let replays = copies.into_iter().flatten();
        assert!(replays.into_iter().all(|code| code == RefusalCode::ReplayedNonce));
    }
}

#[tokio::test]
async fn a_wrong_signature_does_not_use_up_the_nonce_of_a_right_one() {
    let http = Http::start().await;
    http.put_hash("c", &hash('a')).await;
    let verifier = http.verifier().build();
    // Once with the client unknown to the verifier's memory, once with it known.
    for _ in 0..2 {
        let good = Call::signed("c", &hash('a'));
        let mut bad = good.clone();
        bad.sign(&hash('b'));
        assert_eq!(bad.refusal(&verifier).await, Some(RefusalCode::BadSignature));
        assert_eq!(good.refusal(&verifier).await, None);
    }
}
