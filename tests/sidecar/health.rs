//! Liveness says that the process answers, readiness whether it can work.

use hmac_propagator_support::{Mode, eventually};
use serde_json::json;

use crate::process::{Away, Mesh, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn readiness_says_what_is_missing_and_liveness_stays() {
    let mesh = Mesh::new().await;
    let proxy = mesh.proxy().await;
    let peer = mesh.full_via(&proxy).await.ready().await;
    let ready = peer.get("/health/ready").await.is(200);
    assert_eq!((&ready["status"], &ready["missing"]), (&json!("ready"), &json!([])));
    assert_eq!(ready["checks"]["database"], "up");

    let away = Away::take(&peer.spec.redis).await;
    proxy.set_mode(Mode::CloseNew);
    proxy.reset_connections();
    let missing = eventually(SOON, || async {
        let answer = peer.get("/health/ready").await;
        let missing = answer.body["missing"].as_array().unwrap().len();
        (answer.status == 503 && missing == 3).then_some(answer.body)
    })
    .await;
    assert_eq!(missing["missing"], json!(["publisher", "consumer", "redis"]));
    assert_eq!(missing["status"], "unready");

    let alive = peer.get("/health").await.is(200);
    assert_eq!(alive["status"], "healthy");
    assert!(alive["uptime"].as_f64().unwrap() > 0.0 && alive["timestamp"].is_string(), "{alive}");

    away.end().await;
    peer.spec.redis.restart().await.unwrap();
    proxy.set_mode(Mode::Pass);
    eventually(SOON, || async { (peer.get("/health/ready").await.status == 200).then_some(()) })
        .await;
}
