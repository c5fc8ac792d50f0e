//! Short words for the tests, and the way to run each on all three databases.

use hmac_propagator::management::sql::{NewTarget, SqlManagement};
use hmac_propagator::management::{Management, Outcome, RotateCredential, UpsertCredential};
use hmac_propagator::testing::management::world::{completed, queue, rotation, secret_of};

/// Makes a test of each function, for each of the three databases.
#[macro_export]
macro_rules! on_each_database {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case($crate::database::TestDatabase::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case($crate::database::TestDatabase::postgres().await).await;
            })*
        }
        mod mariadb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case($crate::database::TestDatabase::mariadb().await).await;
            })*
        }
    };
}

pub async fn directory(management: &SqlManagement, queues: &[&str]) {
    for name in queues {
        management.add_target(NewTarget::new(queue(name), secret_of(name))).await.unwrap();
    }
}

pub async fn ensure(management: &SqlManagement, request: UpsertCredential) {
    management.upsert_credential_with_targets(request).await.unwrap();
}

pub async fn rotate(
    management: &SqlManagement,
    client: &str,
    number: u64,
    digit: char,
    now_ms: u64,
) {
    let mut request: RotateCredential = rotation(client, number, digit);
    request.now_ms = now_ms;
    management.rotate_credential_secret(request).await.unwrap().unwrap();
}

pub async fn report(management: &SqlManagement, client: &str, number: u64, outcome: Outcome) {
    let report = completed(client, number, outcome);
    management.mark_credential_fully_propagated(report).await.unwrap();
}
