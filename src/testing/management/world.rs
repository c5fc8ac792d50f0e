//! Short words for the cases: requests as the library makes them. Also for tests of an adapter that
//! go beyond the suite.

use crate::id::{ClientId, CredentialKey, EventId, PeerQueue, Revision, Track};
use crate::management::{
    Answered, Decision, FetchPending, FullyPropagated, Management, ManagementError, Marked,
    Outcome, PendingPropagation, PendingWork, Proof, RotateCredential, Rotated, RowKey, RowStatus,
    TargetError, TargetSent, TargetSuccess, UpsertCredential, Upserted,
};
use crate::secret::{ClientSecret, PropagationSecret, SecretHash};
use crate::store::{AllowedIps, Expiry};

use super::{Fixture, StoredRow};

mod stores;

pub use stores::{credentials, hold, page_of_credentials, proved, reopen, reopening, store_id};

/// The time of all that happens, in milliseconds since the epoch.
pub const NOW: u64 = 1_000_000;

/// When what is to be tried again is due.
pub const LATER: u64 = NOW + 60_000;

/// A credential on track `http`.
pub fn key(client: &str) -> CredentialKey {
    CredentialKey::new(Track::Http, ClientId::new(client).unwrap())
}

/// A peer.
pub fn queue(name: &str) -> PeerQueue {
    PeerQueue::new(name).unwrap()
}

/// A revision.
pub fn revision(number: u64) -> Revision {
    Revision::new(number).unwrap()
}

/// A hash that is one digit throughout.
pub fn hash(digit: char) -> SecretHash {
    SecretHash::parse(&digit.to_string().repeat(64)).unwrap()
}

/// The propagation secret that [`directory`] gives a peer.
pub fn secret_of(queue: &str) -> PropagationSecret {
    PropagationSecret::new(format!("secret of {queue}")).unwrap()
}

/// Puts peers into the directory.
pub async fn directory(fixture: &dyn Fixture, queues: &[&str]) {
    for name in queues {
        fixture.add_target(&queue(name), &secret_of(name), false).await;
    }
}

/// A decision to create or replace, to be adorned.
pub fn put(client: &str, number: u64, digit: char, targets: &[&str]) -> UpsertCredential {
    UpsertCredential {
        key: key(client),
        revision: revision(number),
        decision: Decision::Put {
            secret_hash: hash(digit),
            allowed_ips: None,
            expires_at: Expiry::Keep,
            plain_secret: None,
        },
        targets: targets.iter().map(|target| queue(target)).collect(),
        actor: None,
        now_ms: NOW,
    }
}

/// A decision to delete.
pub fn delete(client: &str, number: u64, targets: &[&str]) -> UpsertCredential {
    UpsertCredential { decision: Decision::Delete, ..put(client, number, 'a', targets) }
}

/// The decision with an allow-list and an expiry.
pub fn restricted(
    request: UpsertCredential,
    rules: Option<&[&str]>,
    expiry: Expiry,
) -> UpsertCredential {
    let Decision::Put { secret_hash, plain_secret, .. } = request.decision else {
        panic!("a deletion has no restrictions")
    };
    let allowed_ips = rules.map(|rules| AllowedIps::parse(rules).unwrap());
    let decision = Decision::Put { secret_hash, allowed_ips, expires_at: expiry, plain_secret };
    UpsertCredential { decision, ..request }
}

/// The decision with a plain secret.
pub fn with_plain(request: UpsertCredential, plain: &str) -> UpsertCredential {
    let Decision::Put { secret_hash, allowed_ips, expires_at, .. } = request.decision else {
        panic!("a deletion has no secret")
    };
    let plain_secret = Some(ClientSecret::new(plain).unwrap());
    let decision = Decision::Put { secret_hash, allowed_ips, expires_at, plain_secret };
    UpsertCredential { decision, ..request }
}

/// Makes a decision that is accepted.
pub async fn ensure(fixture: &dyn Fixture, request: UpsertCredential) -> Upserted {
    fixture.worker(0).upsert_credential_with_targets(request).await.unwrap()
}

/// A new secret.
pub fn rotation(client: &str, number: u64, digit: char) -> RotateCredential {
    RotateCredential {
        key: key(client),
        revision: revision(number),
        secret_hash: hash(digit),
        plain_secret: None,
        actor: None,
        now_ms: NOW,
    }
}

/// What a target answered.
pub fn answered(event: &str, attempts: u32) -> Answered {
    let event_id = EventId::new(event).unwrap();
    Answered { event_id, attempts, sent_at_ms: NOW }
}

/// Makes a rotation that is accepted.
pub async fn rotate(
    fixture: &dyn Fixture,
    client: &str,
    number: u64,
    digit: char,
) -> Option<Rotated> {
    let request = rotation(client, number, digit);
    fixture.worker(0).rotate_credential_secret(request).await.unwrap()
}

/// A row at a revision.
pub fn row_key(client: &str, target: &str, number: u64) -> RowKey {
    RowKey { key: key(client), target: queue(target), revision: revision(number) }
}

/// An event that went out, for the first time.
pub fn sent(client: &str, target: &str, number: u64, event: &str) -> TargetSent {
    TargetSent {
        row: row_key(client, target, number),
        event_id: EventId::new(event).unwrap(),
        at_ms: NOW,
        attempts: 1,
        retry_at_ms: LATER,
    }
}

/// A target that proved a revision.
pub fn applied(client: &str, target: &str, number: u64) -> TargetSuccess {
    TargetSuccess {
        row: row_key(client, target, number),
        proof: Proof::Signed,
        store: None,
        answered: None,
        at_ms: NOW,
    }
}

/// A delivery that failed.
pub fn failed(client: &str, target: &str, number: u64, retry_at_ms: Option<u64>) -> TargetError {
    let row = row_key(client, target, number);
    TargetError { row, reason: "refused".into(), retry_at_ms, answered: None, at_ms: NOW }
}

/// Marks one row as sent.
pub async fn send(fixture: &dyn Fixture, entry: TargetSent) {
    fixture.worker(0).mark_target_sent(&[entry]).await.unwrap();
}

/// Marks one row as success.
pub async fn succeed(fixture: &dyn Fixture, entry: TargetSuccess) -> Marked {
    one(fixture.worker(0).mark_target_success(&[entry]).await)
}

/// Marks one row as error.
pub async fn fail(fixture: &dyn Fixture, entry: TargetError) -> Marked {
    one(fixture.worker(0).mark_target_error(&[entry]).await)
}

/// The one answer of a batch of one.
pub fn one(answers: Result<Vec<Marked>, ManagementError>) -> Marked {
    let answers = answers.unwrap();
    assert_eq!(answers.len(), 1, "one answer per entry");
    answers[0]
}

/// Reports a revision.
pub async fn report(fixture: &dyn Fixture, client: &str, number: u64, outcome: Outcome) {
    let report = completed(client, number, outcome);
    fixture.worker(0).mark_credential_fully_propagated(report).await.unwrap();
}

/// A revision that no target is outstanding for.
pub fn completed(client: &str, number: u64, outcome: Outcome) -> FullyPropagated {
    FullyPropagated { key: key(client), revision: revision(number), outcome, at_ms: NOW }
}

/// A row that is there.
pub async fn row(fixture: &dyn Fixture, client: &str, target: &str) -> StoredRow {
    fixture.row(&key(client), &queue(target)).await.unwrap()
}

/// The status of a row that is there.
pub async fn status(fixture: &dyn Fixture, client: &str, target: &str) -> RowStatus {
    row(fixture, client, target).await.status
}

/// All work that is open at a time, by pages of a length.
pub async fn open(
    management: &dyn Management,
    limit: usize,
    now_ms: u64,
) -> Vec<PendingPropagation> {
    let mut request = FetchPending::first(limit, now_ms);
    let mut entries = Vec::new();
    for _ in 0..1000 {
        let page = management.fetch_pending_propagations(request.clone()).await.unwrap();
        assert!(page.entries.len() <= limit, "a page longer than asked for");
        entries.extend(page.entries);
        match page.next {
            Some(next) => request.after = Some(next),
            None => return entries,
        }
    }
    panic!("the pages have no end")
}

/// `client>target` of each delivery, `client!succeeded/failed` of each report.
pub fn names(entries: &[PendingPropagation]) -> Vec<String> {
    let name = |entry: &PendingPropagation| match &entry.work {
        PendingWork::Deliver(target) => format!("{}>{}", entry.client_id, target.queue),
        PendingWork::Report { succeeded, failed } => {
            format!("{}!{succeeded}/{failed}", entry.client_id)
        }
    };
    entries.iter().map(name).collect()
}

/// What is open at a time, in the words of [`names`], sorted.
pub async fn open_names(fixture: &dyn Fixture, now_ms: u64) -> Vec<String> {
    let mut names = names(&open(fixture.worker(0), 100, now_ms).await);
    names.sort();
    names
}
