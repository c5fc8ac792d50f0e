//! Signed test calls, and the route that answers them.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::process::{Mesh, NOWHERE, Peer};

/// Answers every connection with these bytes.
async fn answering(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&answer).await;
            });
        }
    });
    url
}

async fn calling(mesh: &Mesh, origins: &str) -> Peer {
    mesh.full("authority").await.set("CALL_TARGET_ORIGINS", origins).ready().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_call_is_accepted_with_the_right_secret_alone() {
    let mesh = Mesh::new().await;
    let orders = mesh.full("orders").await.ready().await;
    let authority = calling(&mesh, &orders.url).await;
    // Both hash with the same pepper here, so that one call of each shows the same.
    let ensure = json!({"clientId": "webshop", "secret": "the-right-one"});
    authority.post("/admin/ensure", ensure).await.is(201);
    authority.knows(&["orders"]).await;
    orders.knows(&["authority"]).await;
    let ensure = json!({"clientId": "webshop", "secret": "the-right-one", "targets": ["orders"]});
    authority.post("/admin/ensure", ensure).await.is(201);
    authority.post("/admin/sync", json!({})).await.is(200);
    authority.settled("webshop", "orders", "success").await;

    let call = |secret: Option<&str>| {
        let target = format!("{}/api/echo?a=b", orders.url);
        authority.post(
            "/admin/call-target",
            json!({"target": target, "clientId": "webshop", "secret": secret}),
        )
    };
    for secret in [Some("the-right-one"), None] {
        let called = call(secret).await.is(201);
        assert_eq!(called, json!({"status": 200, "body": {"ok": true, "clientId": "webshop"}}));
    }
    let called = call(Some("a-wrong-one")).await.is(201);
    assert_eq!(
        (&called["status"], &called["body"]["error"]),
        (&json!(401), &json!("BAD_SIGNATURE"))
    );
    let bare = json!({"target": orders.url, "clientId": "webshop"});
    assert_eq!(authority.post("/admin/call-target", bare).await.is(201)["status"], 200);
    let stranger = json!({"target": orders.url, "clientId": "nobody"});
    authority.post("/admin/call-target", stranger).await.refuses(404, "UNKNOWN_CLIENT");
}

#[tokio::test(flavor = "multi_thread")]
async fn unsigned_requests_do_not_reach_the_echo() {
    let mesh = Mesh::new().await;
    let peer = mesh.receive_only("orders").await.ready().await;
    let answer = peer.send(peer.http.get(format!("{}/api/echo", peer.url))).await;
    answer.refuses(401, "MISSING_CLIENT_ID");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_origins_are_called_and_no_redirect_is_followed() {
    let mesh = Mesh::new().await;
    let hidden = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhidden".to_vec()).await;
    let redirect =
        format!("HTTP/1.1 302 Found\r\nlocation: {hidden}/\r\ncontent-length: 0\r\n\r\n");
    let redirecting = answering(redirect.into_bytes()).await;
    let endless = [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".as_slice(), &[b'x'; 300 * 1024]];
    let endless = answering(endless.concat()).await;
    let origins = format!("{redirecting},{endless},http://{NOWHERE}");
    let peer = calling(&mesh, &origins).await;
    let call = |target: String| {
        peer.post("/admin/call-target", json!({"target": target, "clientId": "a", "secret": "s"}))
    };
    for target in [hidden.clone(), hidden.replace("http", "https"), format!("{redirecting}0/")] {
        let answer = call(target).await;
        assert!(matches!(answer.status, 400 | 403), "{answer:?}");
    }
    let userinfo = redirecting.replace("//", "//user@");
    call(userinfo).await.refuses(403, "FORBIDDEN");
    call("not a url".to_owned()).await.refuses(400, "INVALID_OPTIONS");
    call("file:///etc/passwd".to_owned()).await.refuses(400, "INVALID_OPTIONS");
    assert_eq!(call(redirecting).await.is(201), json!({"status": 302, "body": ""}));
    call(endless).await.refuses(503, "TARGET_ANSWER_TOO_LONG");
    call(format!("http://{NOWHERE}")).await.refuses(503, "TARGET_UNREACHABLE");
}
