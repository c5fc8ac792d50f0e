//! Lost stores, where the conformance suite cannot look: the tables as they were before, the audit, values that
//! do not open, processes that die.

use std::time::Duration;

use hmac_propagator::id::{CredentialKey, Track};
use hmac_propagator::management::sql::{
    AuditAction, AuditCheck, AuditQuery, DataKey, KeyRing, LocalKey, SqlManagement,
};
use hmac_propagator::management::{Management, Operation, Outcome, RowStatus};
use hmac_propagator::testing::management::world::{
    NOW, applied, credentials, hash, key, names, open, page_of_credentials, proved, put, reopen,
    reopening, sent, store_id,
};

use crate::database::TestDatabase;
use crate::world::{directory, ensure, report};

crate::on_each_database!(
    tables_of_version_2_keep_what_is_in_them,
    a_reopened_row_is_in_the_audit_with_the_store_that_had_proved_it,
    a_process_that_dies_anywhere_leaves_whole_rows,
    a_credential_that_cannot_be_read_does_not_hold_up_the_others,
    a_token_is_for_its_track_alone,
);

/// The steps up to 2, as the release before made them.
fn version_2(database: &TestDatabase) -> String {
    let [tables, notes] = match database {
        TestDatabase::Sqlite(_) => [
            include_str!("../../src/management/sql/schema/sqlite/0001_tables.sql"),
            include_str!("../../src/management/sql/schema/sqlite/0002_notes.sql"),
        ],
        TestDatabase::Server { .. } if database.is_postgres() => [
            include_str!("../../src/management/sql/schema/postgres/0001_tables.sql"),
            include_str!("../../src/management/sql/schema/postgres/0002_notes.sql"),
        ],
        TestDatabase::Server { .. } => [
            include_str!("../../src/management/sql/schema/mysql/0001_tables.sql"),
            include_str!("../../src/management/sql/schema/mysql/0002_notes.sql"),
        ],
    };
    format!(
        "CREATE TABLE hmac_schema (version BIGINT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL); \
         {tables} {notes} INSERT INTO hmac_schema (version, applied_at) VALUES (1, 5), (2, 6); \
         INSERT INTO hmac_propagation_targets (queue, propagation_secret, receive_only, created_at, \
             updated_at, note) VALUES ('b', 'plain:secret of b', 0, 1, 1, 'ask Kim'); \
         INSERT INTO hmac_credentials (track, client_id, revision, operation, secret_hash, \
             unreported, outcome, created_at, updated_at) \
         VALUES ('http', 'settled', 7, 'create', 'plain:{hash}', 0, 'success', 1, 1), \
             ('http', 'open', 8, 'create', 'plain:{hash}', 1, NULL, 1, 1); \
         INSERT INTO hmac_credential_targets (track, client_id, target, revision, status, is_open, \
             event_id, attempts, proof, settled_at) \
         VALUES ('http', 'settled', 'b', 7, 'success', 0, 'event', 2, 'signed', 9), \
             ('http', 'open', 'b', 8, 'pending', 1, NULL, 0, NULL, NULL);",
        hash = hash('1').expose()
    )
}

async fn tables_of_version_2_keep_what_is_in_them(database: TestDatabase) {
    if let TestDatabase::Sqlite(scratch) = &database {
        std::fs::File::create(scratch.path().join("test.db")).unwrap();
    }
    database.raw(&version_2(&database)).await;
    let management = database.open().await;
    let versions = database.raw("SELECT version FROM hmac_schema ORDER BY version").await;
    assert_eq!(versions, ["1", "2", "3"]);
    assert_eq!(management.targets().await.unwrap()[0].note.as_deref(), Some("ask Kim"));
    assert_eq!(names(&open(&management, 10, NOW).await), ["open>b"]);
    let info = management.credential(&key("settled")).await.unwrap().unwrap();
    assert_eq!(info.reported, Some(Outcome::Success));
    let row = &info.targets[0];
    assert_eq!(
        (row.status, row.settled_at_ms, row.store.clone()),
        (RowStatus::Success, Some(9), None)
    );
    // What was proved before stores had names is asked for again.
    assert_eq!(reopen(&management, reopening("b", Some("present")), 10).await, 1);
    management.mark_target_success(&[proved("settled", "b", 7, "present")]).await.unwrap();
    let info = management.credential(&key("settled")).await.unwrap().unwrap();
    let row = &info.targets[0];
    assert_eq!((row.store.clone(), row.attempts), (Some(store_id("present")), 2));
    // A second start finds nothing to do.
    database.open().await;
}

async fn a_reopened_row_is_in_the_audit_with_the_store_that_had_proved_it(database: TestDatabase) {
    let management = database.open_with(SqlManagement::options().actor("robot")).await.unwrap();
    directory(&management, &["b"]).await;
    for client in ["a", "z"] {
        ensure(&management, put(client, 7, '1', &["b"])).await;
    }
    management.mark_target_sent(&[sent("a", "b", 7, "event")]).await.unwrap();
    let answers = [proved("a", "b", 7, "lost"), applied("z", "b", 7)];
    management.mark_target_success(&answers).await.unwrap();
    // A store alone is no news for the audit.
    let before = head(&management).await;
    management.mark_target_success(&[proved("a", "b", 7, "older")]).await.unwrap();
    management.mark_target_success(&[proved("a", "b", 7, "lost")]).await.unwrap();
    assert_eq!(head(&management).await, before);
    assert_eq!(reopen(&management, reopening("b", Some("present")), 1).await, 2);
    assert_eq!(reopen(&management, reopening("b", Some("present")), 1).await, 0);
    let query = AuditQuery::newest(10).actions([AuditAction::TargetReopened]);
    let entries = management.audit(&query).await.unwrap();
    let said: Vec<_> = entries
        .iter()
        .rev()
        .map(|entry| {
            assert_eq!((entry.action.as_str(), entry.actor.as_str()), ("target_reopened", "robot"));
            assert_eq!((entry.track.as_deref(), entry.revision), (Some("http"), Some(7)));
            assert_eq!((entry.target.as_deref(), entry.at_ms), (Some("b"), NOW));
            (entry.client_id.as_deref(), entry.event_id.as_deref(), entry.detail.as_deref())
        })
        .collect();
    assert_eq!(said, [(Some("a"), Some("event"), Some("lost")), (Some("z"), None, None)]);
    assert_eq!(head(&management).await, before + 2);
}

/// The number of the last entry of a whole chain.
async fn head(management: &SqlManagement) -> u64 {
    match management.verify_audit(None).await.unwrap() {
        AuditCheck::Intact(head) => head.seq,
        AuditCheck::Broken { seq, reason } => panic!("entry {seq} is {reason}"),
    }
}

/// Row, credential and audit say the same, and another worker goes on from there.
async fn a_process_that_dies_anywhere_leaves_whole_rows(database: TestDatabase) {
    const ROWS: u64 = 6;
    let management = database.open().await;
    directory(&management, &["b"]).await;
    let clients: Vec<_> = (0..ROWS).map(|number| format!("client-{number}")).collect();
    for client in &clients {
        ensure(&management, put(client, 7, '1', &["b"])).await;
    }
    let answers: Vec<_> = clients.iter().map(|client| proved(client, "b", 7, "lost")).collect();
    // From before its first step to after its last.
    for moment in (0..12).map(|power| Duration::from_micros(200 << power)) {
        management.mark_target_success(&answers).await.unwrap();
        let reports = clients.iter().map(|client| report(&management, client, 7, Outcome::Success));
        futures_util::future::join_all(reports).await;
        let before = reopenings(&management).await;
        let url = database.url();
        std::thread::spawn(move || reopen_and_die(&url, moment)).join().unwrap();
        // Waits for the locks of the one that died.
        reopen(&management, reopening("b", Some("present")), 2).await;
        let infos = management.credentials(None, 100).await.unwrap();
        assert_eq!(infos.len() as u64, ROWS);
        for info in infos {
            assert_eq!((info.reported, info.targets[0].status), (None, RowStatus::Pending));
        }
        assert_eq!(reopenings(&management).await - before, ROWS, "each row once");
    }
    head(&management).await;
}

async fn reopenings(management: &SqlManagement) -> u64 {
    let query = AuditQuery::newest(1).actions([AuditAction::TargetReopened]);
    management.audit_count(&query).await.unwrap()
}

fn reopen_and_die(url: &str, moment: Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let management = SqlManagement::options().connections(1).connect(url).await.unwrap();
        let request = reopening("b", Some("present"));
        let call = tokio::spawn(async move { reopen(&management, request, 2).await });
        tokio::task::yield_now().await;
        let _ = tokio::time::timeout(moment, call).await;
    });
    // Not a step more for any of its tasks.
    runtime.shutdown_background();
}

/// Somebody wrote into the tables past the adapter.
async fn a_credential_that_cannot_be_read_does_not_hold_up_the_others(database: TestDatabase) {
    let ring = KeyRing::new(LocalKey::new("k", DataKey::new([1; 32])));
    let management = database.open_with(SqlManagement::options().keys(ring)).await.unwrap();
    for client in ["beyond", "good", "moved", "readable"] {
        ensure(&management, put(client, 7, '1', &[])).await;
    }
    let good = "SELECT secret_hash FROM hmac_credentials WHERE client_id = 'good'";
    let good = database.raw(good).await;
    for (client, column, value) in [
        ("beyond", "revision", i64::MAX.to_string()),
        ("moved", "secret_hash", format!("'{}'", good[0])),
        ("readable", "secret_hash", format!("'plain:{}'", hash('1').expose())),
    ] {
        let damage =
            format!("UPDATE hmac_credentials SET {column} = {value} WHERE client_id = '{client}'");
        database.raw(&damage).await;
    }
    for limit in [1, 2, 10] {
        let entries = credentials(&management, Track::Http, limit).await;
        let found: Vec<_> = entries
            .iter()
            .map(|entry| {
                let Operation::Put { secret_hash, .. } = &entry.operation else { panic!("a put") };
                (entry.client_id.as_str(), secret_hash == hash('1').expose())
            })
            .collect();
        // As no hash: whoever is given it sees that it is none.
        assert_eq!(found, [("good", true), ("moved", false), ("readable", false)]);
    }
}

async fn a_token_is_for_its_track_alone(database: TestDatabase) {
    let management = database.open().await;
    directory(&management, &["b"]).await;
    for client in ["a", "z"] {
        ensure(&management, put(client, 7, '1', &["b"])).await;
        let mut other = put(client, 7, '1', &["b"]);
        other.key = CredentialKey { track: Track::Message, ..key(client) };
        ensure(&management, other).await;
        management.mark_target_success(&[proved(client, "b", 7, "lost")]).await.unwrap();
    }
    let page = page_of_credentials(&management, Track::Http, None, 1).await;
    let token = page.next.unwrap();
    for wrong in [token.replace("http", "message"), token[1..].to_owned(), "z".to_owned()] {
        let mut request = reopening("b", Some("present"));
        request.after = Some(wrong);
        assert!(!management.reopen_rows(request).await.unwrap_err().is_transient());
    }
    let mut request = reopening("b", Some("present"));
    request.after = Some(token);
    assert_eq!(management.reopen_rows(request).await.unwrap().rows, 1);
    let infos = management.credentials(None, 10).await.unwrap();
    let status = infos.iter().map(|info| info.targets[0].status).collect::<Vec<_>>();
    let open = RowStatus::Pending;
    assert_eq!(status, [RowStatus::Success, open, open, open]);
}
