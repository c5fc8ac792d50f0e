//! What is settled does not slow down what is open.

use hmac_propagator::testing::management::world::{NOW, names, open, put};

use crate::database::TestDatabase;
use crate::world::{directory, ensure};

crate::on_each_database!(open_rows_are_found_by_their_index_among_many_settled_ones);

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
