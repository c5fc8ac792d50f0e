//! A target's queue that the broker keeps and that does not answer.

use std::time::{Duration, Instant};

use hmac_propagator::management::{Outcome, RowStatus};
use hmac_propagator_support::{Broker, eventually};

use crate::mesh::{Full, Mesh, SOON, Store, directory_of, peer, queue_name, ready};

const CLIENTS: [&str; 3] = ["orders", "stock", "bills"];

/// A sync waits for a queue that does not answer no longer than this.
const DEADLINE: Duration = Duration::from_secs(2);

/// An authority that tries again soon.
async fn authority(mesh: &Mesh, store: &Store) -> Full {
    let mut options = mesh.options();
    options.publish_deadline = DEADLINE;
    options.declare_deadline = DEADLINE;
    let management = directory_of(&["b", "c", "d"]);
    let builder = peer(options, "authority", store)
        .answer_timeout(Duration::from_millis(50), Duration::from_millis(200))
        .management(management.clone());
    Full { peer: ready(builder).await, management }
}

/// Syncs until the rows of the stalled target say this.
async fn fails_with(authority: &Full, reason: &str) {
    eventually(SOON, || async {
        authority.sync().await;
        let rows = CLIENTS.map(|client| authority.row(client, "c"));
        let says = |text: &Option<String>| text.as_deref().is_some_and(|t| t.contains(reason));
        rows.iter().all(|row| row.status == RowStatus::Error && says(&row.reason)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_whose_queue_does_not_confirm_fails_alone_and_heals() {
    let broker = Broker::start_private().await.unwrap();
    let mesh = Mesh::on(&broker).await;
    let (at, b, c, d) =
        (Store::start().await, Store::start().await, Store::start().await, Store::start().await);
    let authority = authority(&mesh, &at).await;
    let _targets = (
        mesh.target("b", &b, "authority").await,
        mesh.target("c", &c, "authority").await,
        mesh.target("d", &d, "authority").await,
    );
    for client in CLIENTS {
        authority.ensure(client, &["b", "c", "d"]).await;
    }
    authority.sync().await;
    for client in CLIENTS {
        assert_eq!(authority.reports(client).await, Outcome::Success);
    }

    broker.suspend_queues(&mesh.vhost, &[&queue_name("c")]).await.unwrap();
    for client in CLIENTS {
        authority.rotate(client, "second").await;
    }
    let before = Instant::now();
    let summary = authority.sync().await;
    let took = before.elapsed();
    assert_eq!((summary.targets_published, summary.targets_retrying), (6, 3));
    assert!(took < 2 * DEADLINE, "{took:?}");
    for client in CLIENTS {
        let hash = at.hash(client).await.unwrap();
        for (name, store) in [("b", &b), ("d", &d)] {
            authority.becomes(client, name, RowStatus::Success).await;
            assert_eq!(store.hash(client).await.as_ref(), Some(&hash));
        }
        let row = authority.row(client, "c");
        assert_eq!(row.status, RowStatus::Error);
        assert_eq!(row.reason.as_deref(), Some("the broker does not confirm for this queue"));
        assert_eq!(authority.reported(client), None);
    }
    // A copy may stand in the queue, so the next try looks first, and that hangs as well.
    fails_with(&authority, "the broker does not answer for this queue").await;

    broker.resume_queues(&mesh.vhost, &[&queue_name("c")]).await.unwrap();
    eventually(SOON, || async {
        authority.sync().await;
        CLIENTS.iter().all(|client| authority.reported(client).is_some()).then_some(())
    })
    .await;
    for client in CLIENTS {
        assert_eq!(authority.reported(client), Some(Outcome::Success));
        assert_eq!(authority.row(client, "c").reason, None);
        assert_eq!(c.hash(client).await, at.hash(client).await);
    }
}
