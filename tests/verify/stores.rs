//! What a verifier does when its store changes, fails, or is made of two.

use std::time::Duration;

use futures_util::FutureExt;
use hmac_propagator::auth::RefusalCode;
use hmac_propagator::id::Track;
use hmac_propagator::state::{Key, MemoryState, RedisState, StateStore};
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
    // Not over the verifier's connection: that may still be about to hear that nobody answers.
    let record = record(&hash('a'), "null", "[]");
    let () = http.redis.command(&["HSET", "hmac:http:clients", "c", &record]).await.unwrap();
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

#[tokio::test]
async fn a_record_of_another_type_concerns_its_own_client_only() {
    let http = Http::start().await;
    let state = RedisState::open(&http.redis.url()).unwrap();
    let () = http.redis.command(&["HSET", "fields", "f", "v"]).await.unwrap();
    let () = http.redis.command(&["SET", "text", "v"]).await.unwrap();
    let claim = async |index: usize| {
        // Every tenth asks for a field of what is no hash.
        let odd = index.is_multiple_of(10);
        let key = Key::field(if odd { "text" } else { "fields" }, "f");
        let name = format!("claimed:{index}");
        let claimed = state.read_and_claim(&[key], name, Duration::from_secs(60)).await;
        match claimed {
            Ok((read, free)) => !odd && free && read == [Some("v".to_owned())],
            Err(error) => odd && !error.is_transient(),
        }
    };
    let as_expected = futures_util::future::join_all((0..500).map(claim)).await;
    assert_eq!(as_expected.iter().filter(|held| **held).count(), 500);
}

#[tokio::test]
async fn callers_that_come_together_share_round_trips_and_one_that_gives_up_stops_nobody() {
    let http = Http::start().await;
    let state = RedisState::open(&http.redis.url()).unwrap();
    state.ping().await.unwrap();
    let () = http.redis.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    let life = Duration::from_secs(60);
    let names = (0..300).map(|number| format!("together:{number}"));
    let mut claims: Vec<_> = names.map(|name| state.read_and_claim(&[], name, life)).collect();
    // The first one is on its way, and nobody waits for it any more.
    let first = claims.remove(0);
    assert!(first.now_or_never().is_none());
    let claimed = futures_util::future::join_all(claims).await;
    assert!(claimed.into_iter().all(|claimed| claimed.unwrap() == (Vec::new(), true)));
    let info: String = http.redis.command(&["INFO", "stats"]).await.unwrap();
    let reads = info.lines().find_map(|line| line.strip_prefix("total_reads_processed:")).unwrap();
    assert!(reads.parse::<u32>().unwrap() < 30, "{reads} round trips for 300 callers");
}
