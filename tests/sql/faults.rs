//! Servers that die, connections that break, files that are locked or cannot grow.

use std::process::Command;
use std::time::Duration;

use hmac_propagator::management::sql::SqlManagement;
use hmac_propagator::management::{Management, ManagementError};
use hmac_propagator::testing::management::world::{NOW, applied, key, names, open, put, rotation};
use hmac_propagator_support::{Mode, Proxy, SqlKind, eventually};
use sqlx::{Connection, Executor};

use crate::database::TestDatabase;
use crate::world::{directory, ensure};

const SOON: Duration = Duration::from_secs(30);

crate::on_each_database!(
    a_call_that_is_given_up_runs_to_its_end,
    a_process_that_dies_anywhere_leaves_whole_decisions,
    tables_of_a_newer_release_are_refused,
);

/// Whatever the moment, the call is found done by the next one.
async fn a_call_that_is_given_up_runs_to_its_end(database: TestDatabase) {
    let management = database.open().await;
    directory(&management, &["b"]).await;
    for number in 0..20 {
        let client = format!("client-{number}");
        let request = put(&client, 1, '1', &["b"]);
        let call = management.upsert_credential_with_targets(request);
        tokio::select! {
            biased;
            done = call => { done.unwrap(); }
            () = async { for _ in 0..=number { tokio::task::yield_now().await } } => {}
        }
        eventually(SOON, || async {
            management.credential(&key(&client)).await.unwrap().map(drop)
        })
        .await;
    }
}

/// A runtime that is torn down takes its connections with it in the middle of what they do, as the
/// death of a process does.
async fn a_process_that_dies_anywhere_leaves_whole_decisions(database: TestDatabase) {
    let management = database.open().await;
    directory(&management, &["b"]).await;
    ensure(&management, put("a", 1, '1', &["b"])).await;
    let mut revision = 1;
    for waits in 0..40 {
        let url = database.url();
        let died = std::thread::spawn(move || rotate_and_die(&url, waits));
        died.join().unwrap();
        let info = management.credential(&key("a")).await.unwrap().unwrap();
        // Recorded or not (SQLite's thread may finish what it had begun), the row and the audit say
        // the same.
        let now = info.revision.get();
        assert!(now == revision || (1000..=1000 + waits).contains(&now), "{now}");
        assert!(now >= revision);
        assert_eq!(info.targets[0].revision, info.revision);
        let rotations = format!(
            "SELECT COUNT(*) FROM hmac_propagation_audit WHERE action = 'rotate' AND revision = {now}"
        );
        let rotations = database.raw(&rotations).await;
        assert_eq!(rotations[0] == "1", now > 1, "{rotations:?} at {now}");
        revision = now;
    }
    let done = management.rotate_credential_secret(rotation("a", 2000, '2')).await.unwrap();
    assert_eq!(done.unwrap().targets, 1);
}

fn rotate_and_die(url: &str, waits: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let management = SqlManagement::options().connections(1).connect(url).await.unwrap();
        let request = rotation("a", 1000 + waits, '2');
        let call = tokio::spawn(async move { management.rotate_credential_secret(request).await });
        tokio::task::yield_now().await;
        let moment = Duration::from_micros(150 * waits);
        let _ = tokio::time::timeout(moment, call).await;
    });
    // Not a step more for any of its tasks.
    runtime.shutdown_background();
}

async fn tables_of_a_newer_release_are_refused(database: TestDatabase) {
    database.open().await.close().await;
    database.raw("INSERT INTO hmac_schema (version, applied_at) VALUES (99, 0)").await;
    let error = database.open_with(SqlManagement::options()).await.unwrap_err();
    assert!(!error.is_transient());
    assert!(error.to_string().contains("version 99"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_killed_loses_nothing_and_is_found_again() {
    a_server_that_is_killed_loses_nothing(SqlKind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_that_is_killed_loses_nothing_and_is_found_again() {
    a_server_that_is_killed_loses_nothing(SqlKind::MariaDb).await;
}

async fn a_server_that_is_killed_loses_nothing(kind: SqlKind) {
    let database = TestDatabase::private(kind).await;
    let management = database.open().await;
    directory(&management, &["b"]).await;
    ensure(&management, put("a", 1, '1', &["b"])).await;
    database.server_of().kill().await.unwrap();
    let refused = management.mark_target_success(&[applied("a", "b", 1)]).await.unwrap_err();
    assert!(refused.is_transient(), "{refused}: {:?}", std::error::Error::source(&refused));
    let refused = database.open_with(SqlManagement::options()).await.unwrap_err();
    assert!(refused.is_transient(), "{refused}");
    database.server_of().restart().await.unwrap();
    eventually(SOON, || async {
        management.mark_target_success(&[applied("a", "b", 1)]).await.ok()
    })
    .await;
    assert_eq!(names(&open(&management, 9, NOW).await), ["a!1/0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_connections_cut_at_any_moment_leave_whole_decisions() {
    connections_cut_at_any_moment(TestDatabase::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_connections_cut_at_any_moment_leave_whole_decisions() {
    connections_cut_at_any_moment(TestDatabase::mariadb().await).await;
}

async fn connections_cut_at_any_moment(database: TestDatabase) {
    let proxy = Proxy::start(database.server_of().address().unwrap()).await.unwrap();
    let direct = database.open().await;
    let options = SqlManagement::options();
    let management = options.connect(&database.url_via(&proxy)).await.unwrap();
    directory(&direct, &["b"]).await;
    let mut cut = 0;
    for number in 1..=40 {
        let decision = put("a", number, '1', &["b"]);
        let call = management.upsert_credential_with_targets(decision.clone());
        let cutting = async {
            tokio::time::sleep(Duration::from_micros(200 * number)).await;
            proxy.reset_connections();
        };
        let (done, ()) = tokio::join!(call, cutting);
        if let Err(error) = &done {
            assert!(error.is_transient(), "{error}: {:?}", std::error::Error::source(error));
            cut += 1;
        }
        // Whether it was recorded before the cut is not known, so it is repeated.
        direct.upsert_credential_with_targets(decision).await.unwrap();
        let info = direct.credential(&key("a")).await.unwrap().unwrap();
        assert_eq!((info.revision.get(), info.targets[0].revision.get()), (number, number));
    }
    assert!(cut > 0, "no call was cut off");
    let ensured = "SELECT COUNT(*) FROM hmac_propagation_audit WHERE action = 'ensure'";
    assert_eq!(database.raw(ensured).await, ["40"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_gives_a_transient_error_in_bounded_time() {
    let database = TestDatabase::postgres().await;
    let proxy = Proxy::start(database.server_of().address().unwrap()).await.unwrap();
    proxy.set_mode(Mode::BlackHole);
    let connecting = SqlManagement::options().connect(&database.url_via(&proxy)).await;
    assert!(connecting.unwrap_err().is_transient());
}

#[tokio::test]
async fn sqlite_locked_by_another_process_is_a_transient_error_and_passes() {
    let database = TestDatabase::sqlite().await;
    let management = database.open().await;
    assert_eq!(database.raw("PRAGMA journal_mode").await, ["wal"]);
    let mut other = sqlx::SqliteConnection::connect(&database.url()).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let refused = management.upsert_credential_with_targets(put("a", 1, '1', &[])).await;
    let refused = refused.unwrap_err();
    assert!(refused.is_transient(), "{refused}: {:?}", std::error::Error::source(&refused));
    // Reading goes on meanwhile.
    assert_eq!(management.credential(&key("a")).await.unwrap(), None);
    other.execute("ROLLBACK").await.unwrap();
    ensure(&management, put("a", 1, '1', &[])).await;
}

/// The child of the test below: a file of this process can grow to some hundred kilobytes only.
const LIMITED: &str = "HMAC_TEST_LIMITED_FILES";

#[test]
fn sqlite_on_a_full_disk_is_a_transient_error_and_loses_nothing() {
    if let Ok(url) = std::env::var(LIMITED) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(fill(&url));
    }
    let scratch = hmac_propagator_support::Scratch::new().unwrap();
    let url = format!("sqlite:{}/full.db", scratch.path().display());
    let test = "faults::sqlite_on_a_full_disk_is_a_transient_error_and_loses_nothing";
    let status = Command::new("/bin/sh")
        // In blocks of 512 bytes. Without the signal, a write beyond is an error as on a full disk.
        .args(["-c", "trap '' XFSZ; ulimit -f 1500; exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(LIMITED, &url)
        .status()
        .unwrap();
    assert!(status.success());
    // With room again, all that was confirmed is there, and it goes on.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let management = SqlManagement::connect(&url).await.unwrap();
        let kept = std::fs::read_to_string(scratch.path().join("confirmed")).unwrap();
        let kept: u64 = kept.parse().unwrap();
        assert!(kept > 10);
        for number in 0..kept {
            let client = format!("client-{number}");
            assert!(management.credential(&key(&client)).await.unwrap().is_some(), "{client}");
        }
        ensure(&management, put("after", 1, '1', &[])).await;
    });
}

async fn fill(url: &str) {
    let management = SqlManagement::connect(url).await.unwrap();
    let mut confirmed: u64 = 0;
    let refused: ManagementError = loop {
        assert!(confirmed < 100_000, "the file never was full");
        let request = put(&format!("client-{confirmed}"), 1, '1', &[]);
        match management.upsert_credential_with_targets(request).await {
            Ok(_) => confirmed += 1,
            Err(error) => break error,
        }
    };
    assert!(refused.is_transient(), "{refused}: {:?}", std::error::Error::source(&refused));
    let file = url.trim_start_matches("sqlite:").replace("full.db", "confirmed");
    std::fs::write(file, confirmed.to_string()).unwrap();
}
