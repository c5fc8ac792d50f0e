//! What is refused, with which status and code, and that nothing was done.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::process::{Answer, Away, Mesh, Peer, TOKEN, WithJson};

const GUARDED: [(&str, &str); 15] = [
    ("POST", "/admin/ensure"),
    ("POST", "/admin/rotate"),
    ("POST", "/admin/revoke"),
    ("POST", "/admin/sync"),
    ("GET", "/admin/state"),
    ("POST", "/admin/targets"),
    ("DELETE", "/admin/targets/b"),
    ("POST", "/admin/call-target"),
    ("POST", "/admin/retry"),
    ("POST", "/admin/resend"),
    ("GET", "/admin/audit"),
    ("GET", "/admin/due"),
    ("GET", "/admin/refused"),
    ("POST", "/rotate"),
    ("GET", "/secrets/a"),
];

/// `propagator serve` that needs no broker.
async fn alone() -> Peer {
    let mesh = Mesh::new().await;
    mesh.full("authority").await.start().await
}

async fn nothing_was_done(peer: &Peer) {
    let state = peer.get("/admin/state").await.is(200);
    assert_eq!(state["credentials"], json!([]));
    assert_eq!(state["targets"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_exact_token_no_admin_route_does_anything() {
    let peer = alone().await;
    let wrong: [Option<String>; 8] = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some(format!("Bearer {}", TOKEN.to_uppercase())),
        Some(format!("Bearer {}", &TOKEN[..TOKEN.len() - 1])),
        Some(format!("Bearer {TOKEN}x")),
        Some(format!("Basic {TOKEN}")),
        Some(TOKEN.to_owned()),
    ];
    let body = json!({"clientId": "a", "secretName": "a", "targetAmqpQueue": "b", "propagationSecret": "s", "target": "http://x"});
    for (method, path) in GUARDED {
        for token in &wrong {
            let url = format!("{}{path}", peer.url);
            let mut request = peer.http.request(method.parse().unwrap(), url).with_json(&body);
            if let Some(token) = token {
                request = request.header(header::AUTHORIZATION, token);
            }
            let answer = peer.send(request).await;
            assert!(
                answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer")
            );
            answer.refuses(401, "UNAUTHORIZED");
        }
    }
    let twice = peer.request(Method::GET, "/admin/state").bearer_auth(TOKEN);
    peer.send(twice).await.refuses(401, "UNAUTHORIZED");
    nothing_was_done(&peer).await;
    for open in ["/health", "/openapi.json"] {
        let answer = peer.send(peer.http.get(format!("{}{open}", peer.url))).await;
        answer.is(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_pages_of_other_sites_are_refused() {
    let mesh = Mesh::new().await;
    let spec = mesh.full("authority").await.without("ADMIN_TOKEN");
    let peer = spec.set("CORS_ORIGINS", "https://ops.example").start().await;
    let ask = async |headers: &[(&'static str, &str)]| {
        let mut request = peer.http.get(format!("{}/admin/state", peer.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        peer.send(request).await
    };
    ask(&[]).await.is(200);
    ask(&[("origin", &peer.url)]).await.is(200);
    ask(&[("origin", "https://ops.example")]).await.is(200);
    ask(&[("origin", "https://evil.example")]).await.refuses(403, "FORBIDDEN");
    ask(&[("origin", "null")]).await.refuses(403, "FORBIDDEN");
    ask(&[("host", "evil.example")]).await.refuses(403, "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_cannot_be_read_is_named_and_its_value_is_not() {
    let peer = alone().await;
    const VALUE: &str = "expected-s3cret-value";
    let cases: [(&str, &str, Value); 29] = [
        ("/admin/ensure", "clientId", json!({})),
        ("/admin/ensure", "clientId", json!({"clientId": ""})),
        ("/admin/ensure", "clientId", json!({"clientId": "a\u{0}"})),
        ("/admin/ensure", "clientId", json!({"clientId": "x".repeat(257)})),
        ("/admin/ensure", "clientId", json!({"clientId": {VALUE: VALUE}})),
        ("/admin/ensure", "secret", json!({"clientId": "a", "secret": ""})),
        ("/admin/ensure", "secret", json!({"clientId": "a", "secret": [VALUE]})),
        ("/admin/ensure", "secret", json!({"clientId": "a", "secret": "x".repeat(4097)})),
        ("/admin/ensure", "targets", json!({"clientId": "a", "targets": VALUE})),
        ("/admin/ensure", "targets", json!({"clientId": "a", "targets": null})),
        ("/admin/ensure", "targets[1]", json!({"clientId": "a", "targets": ["b", "../x"]})),
        ("/admin/ensure", "track", json!({"clientId": "a", "track": VALUE})),
        ("/admin/ensure", "allowedIps", json!({"clientId": "a", "allowedIps": null})),
        ("/admin/ensure", "allowedIps", json!({"clientId": "a", "allowedIps": VALUE})),
        ("/admin/ensure", "allowedIps", json!({"clientId": "a", "allowedIps": ["10.0.0.0/33"]})),
        ("/admin/ensure", "allowedIps[1]", json!({"clientId": "a", "allowedIps": ["10.0.0.1", 7]})),
        ("/admin/ensure", "expiresAt", json!({"clientId": "a", "expiresAt": VALUE})),
        ("/admin/ensure", "expiresAt", json!({"clientId": "a", "expiresAt": -1})),
        ("/admin/ensure", "expiresAt", json!({"clientId": "a", "expiresAt": 1e300})),
        ("/admin/ensure", "rotateAfterDays", json!({"clientId": "a", "rotateAfterDays": 0})),
        ("/admin/ensure", "rotateAfterDays", json!({"clientId": "a", "rotateAfterDays": VALUE})),
        ("/admin/ensure", "allowedIPs", json!({"clientId": "a", "allowedIPs": ["10.0.0.1"]})),
        ("/admin/rotate", "secret", json!({"clientId": "a", "secret": 5})),
        ("/admin/revoke", "targets[0]", json!({"clientId": "a", "targets": [VALUE.repeat(20)]})),
        (
            "/admin/targets",
            "propagationSecret",
            json!({"targetAmqpQueue": "b", "propagationSecret": ""}),
        ),
        (
            "/admin/targets",
            "note",
            json!({"targetAmqpQueue": "b", "propagationSecret": VALUE, "note": "x".repeat(1001)}),
        ),
        (
            "/admin/targets",
            "receiveOnly",
            json!({"targetAmqpQueue": "b", "propagationSecret": VALUE, "receiveOnly": "no"}),
        ),
        ("/rotate", "secretName", json!({"secretName": "a b"})),
        ("/rotate", "force", json!({"secretName": "a", "force": VALUE})),
    ];
    for (path, field, body) in cases {
        let message = peer.post(path, body.clone()).await.refuses(400, "INVALID_OPTIONS");
        assert!(message.starts_with(&format!("{field}: ")), "{field}: {message} for {body}");
        assert!(!message.contains(VALUE), "{message}");
    }
    nothing_was_done(&peer).await;
    assert!(!peer.said.text().contains(VALUE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_cannot_be_read_is_named_and_its_value_is_not() {
    let peer = alone().await;
    for (path, field) in [
        ("/admin/state?limit=s3cret", "limit"),
        ("/admin/state?limit=-5", "limit"),
        ("/admin/state?limit=", "limit"),
        ("/admin/state?limit=0", "limit"),
        ("/admin/state?limit=99999999999999999999999", "limit"),
        ("/admin/state?limit=1&limit=2", "limit"),
        ("/admin/state?after=s3cret", "after"),
        ("/admin/state?s3cre=1", "s3cre"),
        ("/admin/audit?before=s3cret", "before"),
        ("/admin/audit?clientId=a&track=s3cret", "track"),
        ("/admin/due?limit=1001", "limit"),
        ("/secrets/a?track=s3cret", "track"),
        ("/secrets/%ff", "the path"),
    ] {
        let message = peer.get(path).await.refuses(400, "INVALID_OPTIONS");
        assert!(message.starts_with(&format!("{field}: ")), "{path}: {message}");
        assert!(message.contains("expected"), "{path}: {message}");
        assert!(!message.contains("s3cret"), "{path}: {message}");
    }
    let twice =
        peer.request(Method::POST, "/admin/ensure").header("content-type", "application/json");
    let twice = twice.body("{\"clientId\":\"a\",\"secret\":\"s3cret\",\"secret\":\"b\"}");
    let message = peer.send(twice).await.refuses(400, "INVALID_OPTIONS");
    assert_eq!(message, "secret: expected once");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_object_of_the_right_kind_are_refused() {
    let peer = alone().await;
    let raw = async |kind: Option<&str>, body: Vec<u8>| -> Answer {
        let mut request = peer.request(Method::POST, "/admin/ensure").body(body);
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        peer.send(request).await
    };
    let json = Some("application/json");
    let deep = [b"{\"clientId\":".to_vec(), b"[".repeat(10_000)].concat();
    let broken: [&[u8]; 9] = [
        b"",
        b"[]",
        b"null",
        b"7",
        b"{",
        b"{\"clientId\":\"a\"} x",
        b"\xef\xbb\xbf{\"clientId\":\"a\"}",
        b"{\"clientId\":\"\xff\"}",
        b"{\"clientId\":\"a\",\"clientId\":\"b\"}",
    ];
    for body in broken.into_iter().chain([deep.as_slice()]) {
        raw(json, body.to_vec()).await.refuses(400, "INVALID_OPTIONS");
    }
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("")] {
        let refused = raw(kind, b"{\"clientId\":\"a\"}".to_vec()).await;
        refused.refuses(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let long = format!("{{\"clientId\":\"{}\"}}", "x".repeat(1024 * 1024));
    raw(json, long.into_bytes()).await.refuses(413, "BODY_TOO_LARGE");
    nothing_was_done(&peer).await;
    raw(Some("application/json; charset=utf-8"), b"{\"clientId\":\"a\"}".to_vec()).await.is(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_reaches_a_client_that_is_still_sending() {
    let peer = alone().await;
    let body = |bytes: usize| json!({"clientId": "x".repeat(bytes)});
    for _ in 0..20 {
        let url = format!("{}/admin/ensure", peer.url);
        peer.send(peer.http.post(url).with_json(&body(1_000_000)))
            .await
            .refuses(401, "UNAUTHORIZED");
        peer.post("/admin/ensure", body(3_000_000)).await.refuses(413, "BODY_TOO_LARGE");
        let unknown = peer.request(Method::POST, "/nowhere").with_json(&body(1_000_000));
        peer.send(unknown).await.refuses(404, "NOT_FOUND");
    }
    nothing_was_done(&peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_and_not_be_done_is_422() {
    let peer = alone().await;
    let cases = [
        ("/admin/ensure", "targets", json!({"clientId": "a", "targets": ["nobody"]})),
        ("/admin/ensure", "targets", json!({"clientId": "a", "targets": ["authority"]})),
        ("/admin/revoke", "targets", json!({"clientId": "a", "targets": ["nobody"]})),
        ("/admin/ensure", "expiresAt", json!({"clientId": "a", "expiresAt": 1})),
        (
            "/admin/targets",
            "targetAmqpQueue",
            json!({"targetAmqpQueue": "authority", "propagationSecret": "s"}),
        ),
    ];
    for (path, field, body) in cases {
        let message = peer.post(path, body).await.refuses(422, "INVALID_OPTIONS");
        assert!(message.starts_with(&format!("{field}: ")), "{message}");
    }
    nothing_was_done(&peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_routes_are_404_and_wrong_methods_405_with_what_is_allowed() {
    let peer = alone().await;
    for path in ["/nowhere", "/admin", "/admin/ensure/x", "/secrets", "/api", "/health/x"] {
        peer.get(path).await.refuses(404, "NOT_FOUND");
    }
    for (method, path, allowed) in [
        ("GET", "/admin/ensure", "POST"),
        ("PUT", "/admin/state", "GET,HEAD"),
        ("GET", "/admin/targets/b", "DELETE"),
        ("POST", "/health", "GET,HEAD"),
        ("PATCH", "/rotate", "POST"),
        ("POST", "/openapi.json", "GET,HEAD"),
    ] {
        let answer = peer.send(peer.request(method.parse().unwrap(), path)).await;
        assert_eq!(answer.headers[header::ALLOW], allowed, "{method} {path}");
        answer.refuses(405, "METHOD_NOT_ALLOWED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_and_key_separators_in_every_field_are_only_text() {
    let peer = alone().await;
    for odd in
        ["'; DROP TABLE hmac_credentials; --", "a\" OR \"1\"=\"1", "%_\\", "a:b", "__proto__"]
    {
        peer.post("/admin/ensure", json!({"clientId": odd, "secret": odd})).await.is(201);
        peer.post("/admin/rotate", json!({"clientId": odd, "secret": odd})).await.is(201);
    }
    let target = json!({"targetAmqpQueue": "b", "propagationSecret": "'; --", "note": "'; DROP"});
    peer.post("/admin/targets", target).await.is(201);
    let state = peer.get("/admin/state").await.is(200);
    assert_eq!(state["credentials"].as_array().unwrap().len(), 5);
    let odd = "/admin/audit?clientId=%27%3B%20DROP%20TABLE%20hmac_credentials%3B%20--";
    assert_eq!(peer.get(odd).await.is(200)["entries"].as_array().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_away_is_503_and_nothing_is_half_done() {
    let mesh = Mesh::new().await;
    let peer = mesh.full("authority").await.ready().await;
    peer.knows(&["orders"]).await;
    let ensure = json!({"clientId": "a", "secret": "first", "targets": ["orders"]});
    peer.post("/admin/ensure", ensure).await.is(201);
    let _away = Away::take(&peer.spec.redis).await;
    let body = json!({"clientId": "a", "secret": "second"});
    for path in ["/admin/ensure", "/admin/rotate", "/admin/revoke"] {
        let body = if path == "/admin/revoke" { json!({"clientId": "a"}) } else { body.clone() };
        let answer = peer.post(path, body).await;
        assert!(answer.headers.contains_key(header::RETRY_AFTER), "{answer:?}");
        answer.refuses(503, "STORE_UNAVAILABLE");
    }
    peer.post("/admin/sync", json!({})).await.refuses(503, "STORE_UNAVAILABLE");
    let row = peer.pivot("a", "orders").await.unwrap();
    assert_eq!((&row["status"], &row["attemptCount"]), (&json!("pending"), &json!(0)));
}
