//! What a verifier does when its store changes, fails, or is made of two.

use hmac_propagator::auth::RefusalCode;
use hmac_propagator::id::Track;
use hmac_propagator::state::MemoryState;
use hmac_propagator::store::MemoryCredentialStore;
use hmac_propagator::verify::{MemoryNonces, RedisNonces, Verifier, WithNonces};

use crate::caller::{Call, Http, NOW, Still, hash, put, record};

#[tokio::test]
async fn a_change_by_anybody_counts_from_the_next_request_on() {
    let http = Http::start().await;
    http.put_hash("c", &hash('a')).await;
    let verifier = http.verifier().build();
    let call = || Call::signed("c", &hash('a'));
    assert_eq!(call().refusal(&verifier).await, None);
    assert_eq!(call().refusal(&verifier).await, None);

    http.put("c", &record(&hash('a'), &(NOW - 1).to_string(), "[]")).await;
    assert_eq!(call().refusal(&verifier).await, Some(RefusalCode::ClientExpired));
    http.put("c", &record(&hash('a'), "null", r#"["10.0.0.1"]"#)).await;
    assert_eq!(call().refusal(&verifier).await, Some(RefusalCode::MissingClientIp));
    http.put_hash("c", &hash('a')).await;
    assert_eq!(call().refusal(&verifier).await, None);

    http.put_hash("c", &hash('b')).await;
    assert_eq!(call().refusal(&verifier).await, Some(RefusalCode::BadSignature));
    assert_eq!(Call::signed("c", &hash('b')).refusal(&verifier).await, None);

    let () = http.redis.command(&["HDEL", "hmac:http:clients", "c"]).await.unwrap();
    let revoked = Call::signed("c", &hash('b')).refusal(&verifier).await;
    assert_eq!(revoked, Some(RefusalCode::UnknownClient));
}

#[tokio::test]
async fn a_request_of_a_known_client_costs_one_round_trip() {
    let http = Http::start().await;
    http.put_hash("c", &hash('a')).await;
    let verifier = http.verifier().overlap(true).build();
    Call::signed("c", &hash('a')).to(&verifier).await.unwrap();
    let () = http.redis.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    for _ in 0..200 {
        Call::signed("c", &hash('a')).to(&verifier).await.unwrap();
    }
    let info: String = http.redis.command(&["INFO", "everything"]).await.unwrap();
    let number = |start: &str| -> u32 {
        let rest = info.lines().find_map(|line| line.strip_prefix(start)).unwrap();
        rest.split(',').next().unwrap().parse().unwrap()
    };
    // One after the other, so what the server reads at once is what the verifier sent at once. The
    // few reads more are this test's own questions.
    let reads = number("total_reads_processed:");
    assert!((200..220).contains(&reads), "{info}");
    for command in ["hmget", "mget", "set"] {
        assert_eq!(number(&format!("cmdstat_{command}:calls=")), 200, "{command}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_refuses_everybody_and_serves_again_when_it_is_back() {
    let http = Http::start().await;
    http.put_hash("c", &hash('a')).await;
    let verifier = http.verifier().build();
    let call = || Call::signed("c", &hash('a'));
    assert_eq!(call().refusal(&verifier).await, None);
    http.redis.kill().await.unwrap();
    assert_eq!(call().refusal(&verifier).await, Some(RefusalCode::InternalError));
    http.redis.restart().await.unwrap();
    http.put_hash("c", &hash('a')).await;
    let served = || async { call().refusal(&verifier).await.is_none().then_some(()) };
    hmac_propagator_support::eventually(std::time::Duration::from_secs(10), served).await;
}

#[tokio::test]
async fn a_store_that_cannot_take_nonces_refuses_also_right_signatures() {
    let http = Http::start().await;
    http.put_hash("c", &hash('a')).await;
    let verifier = http.verifier().build();
    Call::signed("c", &hash('a')).to(&verifier).await.unwrap();
    http.redis.set_read_only(true).await.unwrap();
    let refusal = Call::signed("c", &hash('a')).refusal(&verifier).await;
    assert_eq!(refusal, Some(RefusalCode::InternalError));
    http.redis.set_read_only(false).await.unwrap();
    http.redis.set_out_of_memory(true).await.unwrap();
    let refusal = Call::signed("c", &hash('a')).refusal(&verifier).await;
    assert_eq!(refusal, Some(RefusalCode::InternalError));
}

#[tokio::test]
async fn a_record_without_a_usable_hash_lets_nobody_in_not_even_with_an_empty_key() {
    let http = Http::start().await;
    let verifier = http.verifier().overlap(true).build();
    for broken in ["", "{}", r#"{"secretHash":""}"#, r#"{"secretHash":"xyz"}"#, "null", "[1"] {
        http.put("c", broken).await;
        for key in ["", "xyz", "undefined"] {
            let refusal = Call::signed("c", key).refusal(&verifier).await;
            assert_eq!(refusal, Some(RefusalCode::InternalError), "{broken:?} {key:?}");
        }
    }
}

#[tokio::test]
async fn nonces_may_live_apart_from_the_credentials() {
    let http = Http::start().await;
    http.put_hash("c", &hash('a')).await;
    let apart = WithNonces::new(http.store.clone(), MemoryNonces::new(MemoryState::new(), "n"));
    let verifier = Verifier::builder(apart).overlap(true).clock(Still::at(NOW)).build();
    for _ in 0..2 {
        let call = Call::signed("c", &hash('a'));
        assert_eq!(call.refusal(&verifier).await, None);
        assert_eq!(call.refusal(&verifier).await, Some(RefusalCode::ReplayedNonce));
    }
    let () =
        http.redis.command(&["SET", "hmac:http:credentials-backup:c", &hash('0')]).await.unwrap();
    assert_eq!(Call::signed("c", &hash('0')).refusal(&verifier).await, None);
    http.put_hash("c", &hash('b')).await;
    let old = Call::signed("c", &hash('a')).refusal(&verifier).await;
    assert_eq!(old, Some(RefusalCode::BadSignature));
    assert_eq!(Call::signed("c", &hash('b')).refusal(&verifier).await, None);
}

#[tokio::test]
async fn a_nonce_store_that_is_away_refuses_though_the_credentials_are_there() {
    let http = Http::start().await;
    let state = MemoryState::new();
    put(&state, "c", &record(&hash('a'), "null", "[]")).await;
    let credentials = MemoryCredentialStore::new(state, Track::Http, "hmac:http");
    let apart = WithNonces::new(credentials, RedisNonces::new(http.state.clone(), "hmac:http"));
    let verifier = Verifier::builder(apart).clock(Still::at(NOW)).build();
    assert_eq!(Call::signed("c", &hash('a')).refusal(&verifier).await, None);
    http.redis.kill().await.unwrap();
    let refusal = Call::signed("c", &hash('a')).refusal(&verifier).await;
    assert_eq!(refusal, Some(RefusalCode::InternalError));
}
