//! Pages of other origins: exactly those that are configured, and never with credentials.

use reqwest::Method;

use crate::process::{Answer, Mesh};

#[tokio::test(flavor = "multi_thread")]
async fn only_exact_origins_are_told_that_they_may() {
    let mesh = Mesh::new().await;
    let spec = mesh.receive_only("orders").await;
    let peer = spec.set("CORS_ORIGINS", "https://ops.example").start().await;
    let preflight = async |origin: &str| {
        let request = peer.request(Method::OPTIONS, "/admin/ensure").header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        peer.send(request.header("access-control-request-headers", "authorization")).await
    };
    let allowed = preflight("https://ops.example").await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.headers["access-control-allow-origin"], "https://ops.example");
    assert!(allowed.headers["access-control-allow-methods"].to_str().unwrap().contains("POST"));
    assert!(!allowed.headers.contains_key("access-control-allow-credentials"));
    assert!(varies_with_origin(&allowed));
    let request = peer.request(Method::GET, "/health").header("origin", "https://ops.example");
    let read = peer.send(request).await;
    assert_eq!(read.headers["access-control-allow-origin"], "https://ops.example");
    assert!(!read.headers.contains_key("access-control-allow-credentials"));
    assert!(varies_with_origin(&read));
    for other in
        ["https://ops.example.evil", "http://ops.example", "https://ops.example:444", "null"]
    {
        let refused = preflight(other).await;
        assert!(!refused.headers.contains_key("access-control-allow-origin"), "{other}");
        assert!(varies_with_origin(&refused), "{other}");
    }
    let plain = peer.send(peer.http.get(format!("{}/health", peer.url))).await;
    assert!(!plain.headers.contains_key("access-control-allow-origin"));
    assert!(varies_with_origin(&plain));
}

/// So that a cache does not give one origin what another was told.
fn varies_with_origin(answer: &Answer) -> bool {
    let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
    format!("{vary:?}").to_lowercase().contains("origin")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_configured_origins_none_may() {
    let mesh = Mesh::new().await;
    let peer = mesh.receive_only("orders").await.start().await;
    let request = peer.request(Method::GET, "/health").header("origin", &peer.url);
    let answer = peer.send(request).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}
