//! Routes for certain clients only.

use axum::Router;
use axum::routing::get;
use hmac_propagator::http::Require;
use hmac_propagator::id::Track;

use crate::server::{Memory, Server, answer, client_id, signed};

async fn get_as(server: &Server, client: &str, target: &str) -> (u16, String) {
    let mut request = reqwest::Client::new().get(server.url(target));
    for (name, value) in signed(client, 'a', "GET", target, b"") {
        request = request.header(name, value);
    }
    answer(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_route_lets_only_its_clients_and_its_track_through() {
    let memory = Memory::with("admin", 'a').await;
    memory.put("user", 'a', "[]").await;
    let route = |require: Require| get(|| async { "in" }).layer(require);
    let app = Router::new()
        .route("/all", route(Require::verified()))
        .route("/admin", route(Require::verified().clients([client_id("admin")])))
        .route("/nobody", route(Require::verified().clients([])))
        .route("/http", route(Require::verified().track(Track::Http).current_key()))
        .route("/message", route(Require::verified().track(Track::Message)))
        .layer(memory.layer());
    let server = Server::start(app).await;
    for (client, target, status) in [
        ("user", "/all", 200),
        ("admin", "/admin", 200),
        ("user", "/admin", 403),
        ("admin", "/nobody", 403),
        ("user", "/http", 200),
        ("user", "/message", 403),
    ] {
        let answered = get_as(&server, client, target).await;
        let body = match status {
            200 => "in".to_owned(),
            _ => r#"{"error":"CLIENT_NOT_ALLOWED","message":"this client may not do this"}"#.into(),
        };
        assert_eq!(answered, (status, body), "{client} {target}");
    }
}

#[tokio::test]
async fn a_route_that_no_layer_protects_lets_nobody_through() {
    let app = Router::new().route("/x", get(|| async { "in" }).layer(Require::verified()));
    let server = Server::start(app).await;
    let (status, body) = get_as(&server, "c", "/x").await;
    assert_eq!(status, 500);
    assert!(body.starts_with(r#"{"error":"INTERNAL_ERROR""#), "{body}");
}
