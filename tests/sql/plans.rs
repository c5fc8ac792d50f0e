//! What is settled does not slow down what is open.

use hmac_propagator::id::Track;
use hmac_propagator::management::Management;
use hmac_propagator::testing::management::world::{
    NOW, names, open, proved, put, queue, reopen, reopening,
};

use crate::database::TestDatabase;
use crate::world::{directory, ensure};

crate::on_each_database!(
    open_rows_are_found_by_their_index_among_many_settled_ones,
    a_targets_rows_are_found_among_those_of_many_others,
);

const SETTLED: u32 = 20_000;

async fn open_rows_are_found_by_their_index_among_many_settled_ones(database: TestDatabase) {
    let management = database.open().await;
    directory(&management, &["b", "c"]).await;
    database.raw(&settled_credentials(&database)).await;
    for number in 1..=5 {
        ensure(&management, put(&format!("open-{number}"), number, '1', &["b", "c"])).await;
    }
    database.raw(database.analyze()).await;
    let plan = management.explain_open_work().await.unwrap().join("\n");
    assert!(plan.contains("hmac_credential_targets_open"), "{plan}");
    assert!(!plan.contains("Seq Scan") && !plan.contains("Sort"), "{plan}");
    assert!(!plan.contains("SCAN r\n") && !plan.contains("TEMP B-TREE"), "{plan}");
    let found = names(&open(&management, 7, NOW).await);
    assert_eq!(found.len(), 10, "{found:?}");
}

/// A target of few credentials, one of many, and one of nearly all: each by the index of targets, in the order
/// of the pages.
async fn a_targets_rows_are_found_among_those_of_many_others(database: TestDatabase) {
    let management = database.open().await;
    directory(&management, &["b", "c"]).await;
    database.raw(&settled_credentials(&database)).await;
    for number in 1..=5 {
        let client = format!("few-{number}");
        ensure(&management, put(&client, number, '1', &["c"])).await;
        let answer = [proved(&client, "c", number, "lost")];
        management.mark_target_success(&answer).await.unwrap();
    }
    database.raw(database.analyze()).await;
    for target in ["b", "c"] {
        let plan = management.explain_reopening(&queue(target), Track::Http).await.unwrap();
        let plan = plan.join("\n");
        assert!(plan.contains("hmac_credential_targets_target"), "{target}: {plan}");
        assert!(!plan.contains("Seq Scan") && !plan.contains("Sort"), "{target}: {plan}");
        assert!(!plan.contains("SCAN r") && !plan.contains("TEMP B-TREE"), "{target}: {plan}");
    }
    assert_eq!(reopen(&management, reopening("c", Some("present")), 2).await, 5);
}

/// Settled long ago, with a target each.
fn settled_credentials(database: &TestDatabase) -> String {
    let numbers = match database {
        TestDatabase::Sqlite(_) => format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {SETTLED}) "
        ),
        TestDatabase::Server { .. } => String::new(),
    };
    let source = match database {
        TestDatabase::Sqlite(_) => "n".to_owned(),
        TestDatabase::Server { .. } if database.is_postgres() => {
            format!("generate_series(1, {SETTLED}) AS n (i)")
        }
        TestDatabase::Server { .. } => format!("(SELECT seq AS i FROM seq_1_to_{SETTLED}) AS n"),
    };
    let name = if database.is_mariadb() { "CONCAT('settled-', i)" } else { "'settled-' || i" };
    format!(
        "INSERT INTO hmac_credentials (track, client_id, revision, operation, secret_hash, \
             unreported, outcome, created_at, updated_at) \
         {numbers}SELECT 'http', {name}, 1, 'create', 'plain:x', 0, 'success', 1, 1 FROM {source}; \
         INSERT INTO hmac_credential_targets (track, client_id, target, revision, status, is_open, \
             attempts) \
         {numbers}SELECT 'http', {name}, 'b', 1, 'success', 0, 1 FROM {source};"
    )
}
