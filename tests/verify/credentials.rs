//! Credential management, over what verifiers read.

use hmac_propagator::auth::{RefusalCode, hash_client_secret};
use hmac_propagator::credentials::{Credentials, NewCredential, SecretLength};
use hmac_propagator::cursor::{Cursor, Timestamp};
use hmac_propagator::error::{Error, ErrorKind};
use hmac_propagator::id::EventId;
use hmac_propagator::secret::{ClientSecret, SecretToken};
use hmac_propagator::state::RedisState;
use hmac_propagator::store::{
    AllowedIps, Applied, Change, CredentialStore, Expiry, VersionedChange,
};

use crate::caller::{Call, Http, NOW, Still, client, hash, record, secret_hash};

struct Managed {
    http: Http,
    clock: Still,
    credentials: Credentials<RedisState>,
}

impl Managed {
    async fn start() -> Self {
        let (http, clock) = (Http::start().await, Still::at(NOW));
        let credentials = Credentials::new(http.store.clone(), pepper()).clock(clock.clone());
        Self { http, clock, credentials }
    }

    async fn stored(&self, id: &str) -> Option<String> {
        self.http.redis.command(&["HGET", "hmac:http:clients", id]).await.unwrap()
    }

    async fn backup(&self, id: &str) -> Option<String> {
        let key = format!("hmac:http:credentials-backup:{id}");
        self.http.redis.command(&["GET", &key]).await.unwrap()
    }
}

fn pepper() -> SecretToken {
    SecretToken::new("pepper")
}

fn not_found<T>(result: Result<T, Error>) -> bool {
    result.err().is_some_and(|error| {
        error.kind() == ErrorKind::ClientNotFound && error.code() == "CLIENT_NOT_FOUND"
    })
}

#[tokio::test]
async fn a_generated_secret_lets_its_client_in_and_stands_nowhere() {
    let at = Managed::start().await;
    let new = NewCredential::new(client("c"))
        .secret_length(SecretLength::bytes(16).unwrap())
        .allowed_ips(AllowedIps::parse(&["10.0.0.0/8"]).unwrap())
        .expires_at(NOW + 5);
    let secret = at.credentials.create(new).await.unwrap().reveal();
    assert_eq!(secret.expose().len(), 32);
    let hash = hash_client_secret(&secret, &pepper());
    let expected = format!(
        r#"{{"secretHash":"{}","createdAt":{NOW},"updatedAt":{NOW},"expiresAt":{},"allowedIps":["10.0.0.0/8"]}}"#,
        hash.expose(),
        NOW + 5
    );
    assert_eq!(at.stored("c").await, Some(expected));
    let call = Call::signed("c", hash.expose()).coming_from("10.1.1.1");
    assert_eq!(call.refusal(&at.http.verifier().build()).await, None);

    let again = at.credentials.create(NewCredential::new(client("c"))).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::InvalidOptions);
    assert_eq!(at.credentials.get(&client("c")).await.unwrap().secret_hash, hash);
}

#[tokio::test]
async fn a_new_hash_keeps_the_rest_and_a_backup_of_the_old_one() {
    let at = Managed::start().await;
    at.http.put("c", &record(&hash('a'), "9", r#"["10.0.0.1"]"#)).await;
    at.clock.set(NOW + 1);
    let after = at.credentials.set_hash(&client("c"), secret_hash('b')).await.unwrap();
    assert_eq!((after.created_at, after.updated_at, after.expires_at), (1, NOW + 1, Some(9)));
    assert_eq!(after.allowed_ips, ["10.0.0.1"]);
    assert_eq!(at.backup("c").await, Some(hash('a')));
    let key = "hmac:http:credentials-backup:c";
    let left: u64 = at.http.redis.command(&["PTTL", key]).await.unwrap();
    assert!((590_000..=600_000).contains(&left), "{left}");

    // The same hash again is no change of it: the backup stays what it was.
    at.credentials.set_hash(&client("c"), secret_hash('b')).await.unwrap();
    assert_eq!(at.backup("c").await, Some(hash('a')));
    at.credentials.set_expiry(&client("c"), Expiry::Never).await.unwrap();
    let none = AllowedIps::default();
    let after = at.credentials.set_allowed_ips(&client("c"), none).await.unwrap();
    assert_eq!((after.expires_at, after.allowed_ips.len()), (None, 0));
    assert_eq!((after.secret_hash, at.backup("c").await), (secret_hash('b'), Some(hash('a'))));
}

#[tokio::test]
async fn a_regenerated_or_chosen_secret_replaces_the_old_one() {
    let at = Managed::start().await;
    let verifier = at.http.verifier().build();
    let first = at.credentials.create(NewCredential::new(client("c"))).await.unwrap().reveal();
    let new = at.credentials.regenerate(&client("c"), SecretLength::default()).await.unwrap();
    for (secret, refusal) in [(first, Some(RefusalCode::BadSignature)), (new.reveal(), None)] {
        let call = Call::signed("c", hash_client_secret(&secret, &pepper()).expose());
        assert_eq!(call.refusal(&verifier).await, refusal);
    }
    let chosen = ClientSecret::new("chosen").unwrap();
    at.credentials.set_secret(&client("c"), &chosen).await.unwrap();
    let call = Call::signed("c", hash_client_secret(&chosen, &pepper()).expose());
    assert_eq!(call.refusal(&verifier).await, None);
}

#[tokio::test]
async fn revert_restores_the_previous_hash_while_its_backup_lives() {
    let at = Managed::start().await;
    at.http.put_hash("c", &hash('a')).await;
    let nothing = at.credentials.revert(&client("c")).await.unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::InvalidOptions);
    at.credentials.set_hash(&client("c"), secret_hash('b')).await.unwrap();
    let after = at.credentials.revert(&client("c")).await.unwrap();
    assert_eq!((after.secret_hash, at.backup("c").await), (secret_hash('a'), Some(hash('b'))));
    let after = at.credentials.revert(&client("c")).await.unwrap();
    assert_eq!(after.secret_hash, secret_hash('b'));

    let backup = "hmac:http:credentials-backup:c";
    let () = at.http.redis.command(&["DEL", backup]).await.unwrap();
    assert!(at.credentials.revert(&client("c")).await.is_err());
    let () = at.http.redis.command(&["SET", backup, "no hash"]).await.unwrap();
    assert!(at.credentials.revert(&client("c")).await.is_err());
    assert_eq!(at.credentials.get(&client("c")).await.unwrap().secret_hash, secret_hash('b'));
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_and_not_made() {
    let at = Managed::start().await;
    let id = client("nobody");
    assert!(not_found(at.credentials.get(&id).await));
    assert!(not_found(at.credentials.delete(&id).await));
    assert!(not_found(at.credentials.regenerate(&id, SecretLength::default()).await));
    assert!(not_found(at.credentials.set_secret(&id, &ClientSecret::new("x").unwrap()).await));
    assert!(not_found(at.credentials.set_hash(&id, secret_hash('a')).await));
    assert!(not_found(at.credentials.set_allowed_ips(&id, AllowedIps::default()).await));
    assert!(not_found(at.credentials.set_expiry(&id, Expiry::At(1)).await));
    let () = at
        .http
        .redis
        .command(&["SET", "hmac:http:credentials-backup:nobody", &hash('a')])
        .await
        .unwrap();
    assert!(not_found(at.credentials.revert(&id).await));
    assert_eq!(at.stored("nobody").await, None);
}

#[tokio::test]
async fn delete_takes_the_backup_along() {
    let at = Managed::start().await;
    at.http.put_hash("c", &hash('a')).await;
    at.credentials.set_hash(&client("c"), secret_hash('b')).await.unwrap();
    at.credentials.delete(&client("c")).await.unwrap();
    assert_eq!((at.stored("c").await, at.backup("c").await), (None, None));
}

#[tokio::test]
async fn a_record_without_a_usable_hash_can_be_seen_and_removed_but_not_repaired_blindly() {
    let at = Managed::start().await;
    at.http.put("c", r#"{"secretHash":"","allowedIps":["10.0.0.1"]}"#).await;
    let error = at.credentials.set_hash(&client("c"), secret_hash('a')).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    let (page, _) = at.credentials.list(None).await.unwrap();
    assert!(page.len() == 1 && page[0].credential.is_none());
    at.credentials.delete(&client("c")).await.unwrap();
}

#[tokio::test]
async fn a_list_shows_every_client_over_its_pages() {
    let at = Managed::start().await;
    for number in 0..1500 {
        at.http.put_hash(&format!("client-{number}"), &hash('a')).await;
    }
    let (mut seen, mut after) = (std::collections::BTreeSet::new(), None);
    loop {
        let (page, next) = at.credentials.list(after).await.unwrap();
        assert!(!format!("{page:?}").contains(&hash('a')));
        seen.extend(page.into_iter().map(|listed| listed.client_id));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 1500);
}

#[tokio::test]
async fn changes_that_race_with_each_other_and_with_events_leave_one_of_their_results() {
    let at = Managed::start().await;
    at.http.put_hash("c", &hash('0')).await;
    let local = ['a', 'b', 'c', 'd'].map(|digit| {
        let at = &at;
        async move { at.credentials.set_hash(&client("c"), secret_hash(digit)).await.map(|_| ()) }
    });
    let version = Cursor {
        ts: Timestamp::new(1.0).unwrap(),
        event_id: EventId::new("event").unwrap(),
        source: None,
    };
    let secret_hash = secret_hash('e');
    let change = Change::Put { secret_hash, allowed_ips: None, expires_at: Expiry::Keep };
    let event = [VersionedChange { client_id: client("c"), version: version.clone(), change }];
    let (local, applied) =
        tokio::join!(futures_util::future::join_all(local), at.http.store.apply(&event, NOW));
    assert!(local.iter().all(Result::is_ok));
    assert_eq!(*applied[0].as_ref().unwrap(), Applied::Changed);
    // The last writer's backup is the hash of the last but one, never one that was already gone.
    let last = at.credentials.get(&client("c")).await.unwrap().secret_hash;
    let backup = at.backup("c").await.unwrap();
    assert_ne!(last.expose(), backup);
    assert_ne!(backup, hash('0'));
    // A local change leaves the cursor alone: what was applied once is recognised, and applied once more if a
    // local change came after it.
    assert_eq!(at.http.store.cursor(&client("c")).await.unwrap(), Some(version));
    let expected = if last.expose() == hash('e') { Applied::Already } else { Applied::Changed };
    let again = at.http.store.apply(&event, NOW).await.remove(0).unwrap();
    assert_eq!(again, expected);
    assert_eq!(at.credentials.get(&client("c")).await.unwrap().secret_hash.expose(), hash('e'));
}
