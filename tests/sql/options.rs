//! What is refused before a database is opened, and what errors say of it.

use std::error::Error;
use std::time::Duration;

use hmac_propagator::management::sql::{
    AuditCheck, DataKey, KeyRing, LocalKey, SqlManagement, SqlOptions,
};
use hmac_propagator::management::{ManagementError, Outcome};
use hmac_propagator::testing::management::world::{put, with_plain};
use hmac_propagator_support::Scratch;

use crate::database::TestDatabase;
use crate::world::{directory, ensure, report};

/// An error with all that is behind it.
fn told(error: &ManagementError) -> String {
    let mut told = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        told += &format!(" {error} {error:?}");
        source = error.source();
    }
    told
}

fn local(id: &str) -> LocalKey {
    LocalKey::new(id, DataKey::new([1; 32]))
}

#[tokio::test]
async fn options_outside_their_range_are_refused_by_name() {
    let options = SqlManagement::options;
    let bad: [(SqlOptions, &str); 10] = [
        (options().actor(""), "actor"),
        (options().actor(" "), "actor"),
        (options().actor("a\0b"), "actor"),
        (options().actor("x".repeat(257)), "actor"),
        (options().claim_lease(Duration::ZERO), "claim_lease"),
        (options().claim_lease(Duration::MAX), "claim_lease"),
        (options().keys(KeyRing::new(local(""))), "keys"),
        (options().keys(KeyRing::new(local("a\0"))), "keys"),
        (options().keys(KeyRing::new(local(&"x".repeat(129)))), "keys"),
        (options().keys(KeyRing::new(local("k")).older(local("k"))), "keys"),
    ];
    for (options, field) in bad {
        let error = options.connect("sqlite::memory:").await.unwrap_err();
        assert!(!error.is_transient(), "{error}");
        assert!(error.to_string().starts_with(&format!("{field}: expected")), "{error}");
    }
}

#[tokio::test]
async fn one_connection_is_enough() {
    for url in ["sqlite::memory:", "sqlite:any?mode=memory"] {
        let options = SqlManagement::options().connections(0).keys(KeyRing::new(local("k")));
        let management = options.connect(url).await.unwrap();
        directory(&management, &["b"]).await;
        ensure(&management, put("a", 1, '1', &["b"])).await;
        management.reencrypt(|_| {}).await.unwrap();
        assert_eq!(management.rewrap_keys().await.unwrap(), 2);
        let check = management.verify_audit(None).await.unwrap();
        assert!(matches!(check, AuditCheck::Intact(_)), "{url}: {check:?}");
    }
}

#[tokio::test]
async fn no_error_about_a_url_repeats_its_password() {
    let hidden = "hunter2-the-password";
    for nobody_there in [
        format!("postgres://user:{hidden}@127.0.0.1:1/x"),
        format!("mysql://user:{hidden}@127.0.0.1:1/x"),
    ] {
        let error = SqlManagement::connect(&nobody_there).await.unwrap_err();
        assert!(error.is_transient() && !told(&error).contains("hunter2"), "{}", told(&error));
    }
    for not_understood in [
        format!("postgres://user:{hidden}@127.0.0.1:port/x"),
        format!("postgres://user:{hidden}@[::/x"),
        format!("postgres://user:{hidden}@127.0.0.1:1/x?sslmode=perhaps"),
        format!("postgres://user:{hidden}%ff@127.0.0.1:1/x"),
        format!("postgresql:user:{hidden}"),
        format!("mysql://user:{hidden}@127.0.0.1:99999/x"),
        format!("mysql://user:{hidden}@127.0.0.1:1/x?ssl-mode=perhaps"),
        format!("mysql://user:{hidden}%ff@127.0.0.1:1/x"),
        format!("mariadb:user:{hidden}"),
        format!("oracle://user:{hidden}@127.0.0.1/x"),
        format!("user:{hidden}@127.0.0.1/x"),
    ] {
        let error = SqlManagement::connect(&not_understood).await.unwrap_err();
        let told = told(&error);
        assert!(!error.is_transient() && !told.contains("hunter2"), "{told}");
        assert!(told.starts_with("database URL: expected"), "{told}");
    }
}

/// Without keys a plain secret stands readable in the file for as long as it is kept, and no longer.
#[tokio::test]
async fn a_cleared_plain_secret_is_not_left_in_the_file() {
    let scratch = Scratch::new().unwrap();
    let file = scratch.path().join("test.db");
    let in_file = |text: &str| {
        let stored = std::fs::read(&file).unwrap();
        stored.windows(text.len()).any(|window| window == text.as_bytes())
    };
    let database = TestDatabase::Sqlite(scratch);
    let management = database.open().await;
    let short = "a plain secret to be cleared";
    // Longer than a page: it has pages of its own, which become free as a whole.
    let long = "a long plain secret to be cleared. ".repeat(400);
    for (number, plain) in (1..).zip([short, &long]) {
        let client = format!("client-{number}");
        ensure(&management, with_plain(put(&client, number, '1', &[]), plain)).await;
    }
    database.raw("PRAGMA wal_checkpoint(TRUNCATE)").await;
    assert!(in_file(short) && in_file("a long plain secret"));
    for number in 1..=2 {
        report(&management, &format!("client-{number}"), number, Outcome::Success).await;
    }
    database.raw("PRAGMA wal_checkpoint(TRUNCATE)").await;
    assert!(!in_file(short) && !in_file("a long plain secret"));
}
