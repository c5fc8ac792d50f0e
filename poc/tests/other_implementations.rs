//! Any implementation may take any seat: the wire contract and the Redis layout decide. Here a peer
//! of a few lines does, which knows nothing of the library.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod node;

use std::time::Duration;

use node::NodePeer;
use poc::mesh::{AUTHORITY, CONSUMER, Mesh, SOON};
use poc::within;
use serde_json::json;

const NAME: &str = "node";
const SECRET: &str = "the propagation secret of the other peer";

#[tokio::test]
async fn a_peer_of_another_implementation_is_a_target_like_any_other() {
    let mesh = Mesh::start(&[AUTHORITY]).await.unwrap();
    let authority = mesh.admin(AUTHORITY).unwrap();
    let peer = NodePeer::start(&mesh, NAME, SECRET).await;
    let source = mesh.propagation_secret(AUTHORITY).unwrap();
    peer.knows(AUTHORITY, source);
    assert!(authority.add_target(NAME, SECRET, true).await.unwrap().did(201, "target.create"));

    let ensured = authority.ensure("webshop", &[NAME]).await.unwrap();
    let caller = mesh.caller("webshop", ensured.text("secret")).unwrap();
    let is_success = |revision: u64| {
        let authority = &authority;
        within(SOON, move || async move {
            let rows = authority.rows("webshop").await.unwrap();
            rows.len() == 1
                && (rows[0].status.as_str(), rows[0].revision) == ("success", revision)
                && rows[0].proof == "signed"
        })
    };
    assert!(is_success(ensured.body["revision"].as_u64().unwrap()).await);
    assert_eq!(peer.holds("webshop").await.as_deref(), Some(caller.hash().expose()));

    let rotated = authority.rotate("webshop").await.unwrap();
    let caller = mesh.caller("webshop", rotated.text("secret")).unwrap();
    assert!(is_success(rotated.body["revision"].as_u64().unwrap()).await);
    assert_eq!(peer.holds("webshop").await.as_deref(), Some(caller.hash().expose()));

    let revoked = authority.revoke("webshop").await.unwrap();
    assert!(is_success(revoked.body["revision"].as_u64().unwrap()).await);
    assert_eq!(peer.holds("webshop").await, None);
    assert_eq!(peer.operations(), ["credential.create", "credential.update", "credential.delete"]);
}

#[tokio::test]
async fn a_peer_of_another_implementation_decides_for_ours() {
    let mesh = Mesh::start(&[CONSUMER]).await.unwrap();
    let peer = NodePeer::start(&mesh, NAME, SECRET).await;
    let target = mesh.propagation_secret(CONSUMER).unwrap();
    // What it hashes with is its own concern.
    let caller = poc::call::Caller::new("webshop", "a secret", "a pepper").unwrap();
    let payload = json!({ "secretHash": caller.hash().expose(), "expiresAt": null });
    let event = peer.decide(CONSUMER, target, "credential.create", "webshop", payload).await;
    let answer = peer.answer_to(&event).await;
    assert_eq!(answer["ackResult"], "applied", "{answer}");
    assert_eq!(answer["senderAmqpQueue"], CONSUMER);
    // It cannot know the secret of whoever decides.
    assert_eq!(answer["propagationSecret"], "");
    let route = mesh.signed_route(CONSUMER).unwrap();
    assert_eq!(poc::call::known_as(&caller.get(&route).await.unwrap()), Some("webshop"));
    let stranger = poc::call::Caller::new("webshop", "a guess", "a pepper").unwrap();
    let refused = stranger.get(&route).await.unwrap();
    assert_eq!(poc::call::refusal(&refused), Some("BAD_SIGNATURE"));

    let payload = json!({ "secretHash": "" });
    let event = peer.decide(CONSUMER, target, "credential.delete", "webshop", payload).await;
    assert_eq!(peer.answer_to(&event).await["ackResult"], "applied");
    let refused = caller.get(&route).await.unwrap();
    assert_eq!(poc::call::refusal(&refused), Some("UNKNOWN_CLIENT"));

    // Whoever does not know the target's secret decides nothing, and is not answered.
    let payload = json!({ "secretHash": caller.hash().expose(), "expiresAt": null });
    let forged = peer.decide(CONSUMER, "a guess", "credential.create", "webshop", payload).await;
    let answered = tokio::time::timeout(Duration::from_secs(1), peer.answer_to(&forged)).await;
    assert!(answered.is_err(), "{answered:?}");
    assert!(mesh.holds(CONSUMER, "webshop").await.unwrap().is_none());
}
