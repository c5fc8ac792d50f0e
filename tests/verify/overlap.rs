//! Rotation without a gap: the previous hash counts while its backup lives, and is seen to.

use std::sync::{Arc, Mutex};

use hmac_propagator::auth::RefusalCode;
use hmac_propagator::cursor::{Cursor, Timestamp};
use hmac_propagator::id::EventId;
use hmac_propagator::store::{Applied, Change, CredentialStore, Expiry, VersionedChange};
use hmac_propagator::verify::{KeyUsed, VerifierEvent};

use crate::caller::{Call, Http, NOW, client, hash, secret_hash};

async fn rotate(http: &Http, to: char, ts: i32) {
    let change =
        Change::Put { secret_hash: secret_hash(to), allowed_ips: None, expires_at: Expiry::Keep };
    apply(http, change, ts).await;
}

async fn apply(http: &Http, change: Change, ts: i32) {
    let version = Cursor {
        ts: Timestamp::new(f64::from(ts)).unwrap(),
        event_id: EventId::new(format!("event-{ts}")).unwrap(),
        source: None,
    };
    let change = VersionedChange { client_id: client("c"), version, change };
    let applied = http.store.apply(&[change], NOW).await.remove(0).unwrap();
    assert_eq!(applied, Applied::Changed);
}

#[tokio::test]
async fn the_previous_hash_is_accepted_marked_counted_and_seen() {
    let http = Http::start().await;
    let events: Arc<Mutex<Vec<VerifierEvent>>> = Arc::default();
    let seen = events.clone();
    let observer = move |event: &VerifierEvent| seen.lock().unwrap().push(event.clone());
    let verifier = http.verifier().overlap(true).observer(observer).build();
    rotate(&http, 'a', 1).await;
    rotate(&http, 'b', 2).await;

    for (digit, key) in
        [('a', KeyUsed::Previous), ('b', KeyUsed::Current), ('a', KeyUsed::Previous)]
    {
        let verified = Call::signed("c", &hash(digit)).to(&verifier).await.unwrap();
        assert_eq!(verified.key, key);
        assert_eq!(events.lock().unwrap().pop(), Some(VerifierEvent::Accepted(verified)));
    }
    let counts = verifier.counts();
    assert_eq!((counts.accepted, counts.accepted_with_previous), (1, 2));

    // A nonce is one client's, whichever of its hashes signed.
    let mut call = Call::signed("c", &hash('a'));
    assert_eq!(call.refusal(&verifier).await, None);
    call.sign(&hash('b'));
    assert_eq!(call.refusal(&verifier).await, Some(RefusalCode::ReplayedNonce));
    let last = events.lock().unwrap().pop().unwrap();
    let VerifierEvent::Refused { code, client_id, .. } = last else { panic!("{last:?}") };
    assert_eq!((code, client_id), (RefusalCode::ReplayedNonce, Some(client("c"))));
}

#[tokio::test]
async fn without_overlap_the_previous_hash_ends_with_the_rotation() {
    let http = Http::start().await;
    let verifier = http.verifier().build();
    rotate(&http, 'a', 1).await;
    assert_eq!(Call::signed("c", &hash('a')).refusal(&verifier).await, None);
    rotate(&http, 'b', 2).await;
    let old = Call::signed("c", &hash('a')).refusal(&verifier).await;
    assert_eq!(old, Some(RefusalCode::BadSignature));
}

#[tokio::test]
async fn the_previous_hash_ends_with_its_backup() {
    let http = Http::start().await;
    let verifier = http.verifier().overlap(true).build();
    rotate(&http, 'a', 1).await;
    rotate(&http, 'b', 2).await;
    let old = || Call::signed("c", &hash('a'));
    assert_eq!(old().refusal(&verifier).await, None);
    let backup = "hmac:http:credentials-backup:c";
    let left: u64 = http.redis.command(&["PTTL", backup]).await.unwrap();
    assert!((590_000..=600_000).contains(&left), "{left}");
    let () = http.redis.command(&["DEL", backup]).await.unwrap();
    assert_eq!(old().refusal(&verifier).await, Some(RefusalCode::BadSignature));
}

#[tokio::test]
async fn two_rotations_on_only_the_last_two_hashes_count() {
    let http = Http::start().await;
    let verifier = http.verifier().overlap(true).build();
    for (ts, digit) in ['a', 'b', 'c'].into_iter().enumerate() {
        rotate(&http, digit, i32::try_from(ts).unwrap() + 1).await;
        assert_eq!(Call::signed("c", &hash(digit)).refusal(&verifier).await, None);
    }
    assert_eq!(Call::signed("c", &hash('b')).refusal(&verifier).await, None);
    let oldest = Call::signed("c", &hash('a')).refusal(&verifier).await;
    assert_eq!(oldest, Some(RefusalCode::BadSignature));
}

#[tokio::test]
async fn a_revoked_credential_has_no_overlap() {
    let http = Http::start().await;
    let verifier = http.verifier().overlap(true).build();
    rotate(&http, 'a', 1).await;
    rotate(&http, 'b', 2).await;
    for digit in ['a', 'b'] {
        assert_eq!(Call::signed("c", &hash(digit)).refusal(&verifier).await, None);
    }
    apply(&http, Change::Delete, 3).await;
    for digit in ['a', 'b'] {
        let refusal = Call::signed("c", &hash(digit)).refusal(&verifier).await;
        assert_eq!(refusal, Some(RefusalCode::UnknownClient));
    }
}

#[tokio::test]
async fn a_client_that_is_made_anew_has_no_overlap_with_the_one_before_it() {
    let http = Http::start().await;
    let verifier = http.verifier().overlap(true).build();
    // Somebody else removed the record and left the backup behind.
    let () =
        http.redis.command(&["SET", "hmac:http:credentials-backup:c", &hash('a')]).await.unwrap();
    rotate(&http, 'b', 1).await;
    let revoked = Call::signed("c", &hash('a')).refusal(&verifier).await;
    assert_eq!(revoked, Some(RefusalCode::BadSignature));
    assert_eq!(Call::signed("c", &hash('b')).refusal(&verifier).await, None);
}

#[tokio::test]
async fn a_backup_that_is_no_hash_lets_nobody_in() {
    let http = Http::start().await;
    http.put_hash("c", &hash('b')).await;
    let verifier = http.verifier().overlap(true).build();
    for broken in ["", "xyz", "{}"] {
        let set = ["SET", "hmac:http:credentials-backup:c", broken];
        let () = http.redis.command(&set).await.unwrap();
        let refusal = Call::signed("c", broken).refusal(&verifier).await;
        assert_eq!(refusal, Some(RefusalCode::BadSignature), "{broken:?}");
        assert_eq!(Call::signed("c", &hash('b')).refusal(&verifier).await, None);
    }
}
