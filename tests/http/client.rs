//! The signing client against the layer.

use axum::body::Bytes;
use futures_util::stream;
use hmac_propagator::client::{SendError, SigningClient};
use hmac_propagator::error::ErrorKind;
use hmac_propagator::http::HmacLayer;
use hmac_propagator::verify::Verifier;
use http_body_util::StreamBody;
use std::convert::Infallible;

use crate::server::{Memory, Server, answer, app, client_id, hash};

async fn server_with(client: &str, digit: char) -> (Server, Memory) {
    let memory = Memory::with(client, digit).await;
    (Server::start(app(memory.layer())).await, memory)
}

fn streamed(chunks: &[&'static str]) -> reqwest::Body {
    let chunks = chunks.to_vec();
    let frames = chunks.into_iter().map(|chunk| {
        Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(chunk.as_bytes())))
    });
    reqwest::Body::wrap(StreamBody::new(stream::iter(frames)))
}

async fn post(
    client: &SigningClient,
    url: String,
    body: impl Into<reqwest::Body>,
) -> (u16, String) {
    let request = client.http().post(url).body(body).build().unwrap();
    answer(client.execute(request).await.unwrap()).await
}

#[tokio::test]
async fn what_it_sends_is_let_through_whatever_the_path_and_the_body() {
    let (server, _) = server_with("c", 'a').await;
    let client = SigningClient::fixed(reqwest::Client::new(), client_id("c"), &hash('a'));
    for target in
        ["/", "/a/../b?x=%27'&y= z", "/é ü?q=ß", "/a//b;c=1,2?", "/x#fragment", "/%2e%2e/y"]
    {
        let answered = post(&client, server.url(target), "text").await;
        assert_eq!(answered, (200, "c text".into()), "{target}");
    }
    assert_eq!(post(&client, server.url("/"), streamed(&["a", "", "b"])).await.1, "c ab");
    let request = client.http().get(server.url("/")).build().unwrap();
    assert_eq!(answer(client.execute(request).await.unwrap()).await, (200, "c ".into()));
}

#[tokio::test]
async fn binary_bodies_are_signed_as_they_are() {
    let memory = Memory::with("c", 'a').await;
    let length = |body: Bytes| async move { body.len().to_string() };
    let layer = HmacLayer::new(Verifier::new(memory.store()));
    let app = axum::Router::new().route("/", axum::routing::post(length)).layer(layer);
    let server = Server::start(app).await;
    let client = SigningClient::fixed(reqwest::Client::new(), client_id("c"), &hash('a'));
    assert_eq!(post(&client, server.url("/"), vec![0xff, 0, 0xfe]).await, (200, "3".into()));
}

#[tokio::test]
async fn after_a_401_the_credential_is_read_anew_and_the_request_sent_once_more() {
    let (server, theirs) = server_with("c", 'a').await;
    let ours = Memory::with("c", 'a').await;
    let client = SigningClient::from_store(reqwest::Client::new(), client_id("c"), ours.store());
    assert_eq!(post(&client, server.url("/"), "x").await.0, 200);
    // Both sides rotate; the client does not know yet.
    theirs.put("c", 'b', "[]").await;
    ours.put("c", 'b', "[]").await;
    assert_eq!(server.requests(), 1);
    assert_eq!(post(&client, server.url("/"), streamed(&["x", "y"])).await, (200, "c xy".into()));
    assert_eq!(server.requests(), 3);
    // What was read anew is kept.
    assert_eq!(post(&client, server.url("/"), "x").await.0, 200);
    assert_eq!(server.requests(), 4);
}

#[tokio::test]
async fn a_second_401_is_final() {
    let (server, _) = server_with("c", 'a').await;
    let ours = Memory::with("c", 'b').await;
    let client = SigningClient::from_store(reqwest::Client::new(), client_id("c"), ours.store());
    let (status, body) = post(&client, server.url("/"), "x").await;
    assert!(status == 401 && body.contains("BAD_SIGNATURE"), "{status} {body}");
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_fixed_hash_is_not_tried_twice_and_neither_is_any_other_refusal() {
    let (server, theirs) = server_with("c", 'a').await;
    let client = SigningClient::fixed(reqwest::Client::new(), client_id("c"), &hash('b'));
    assert_eq!(post(&client, server.url("/"), "x").await.0, 401);
    assert_eq!(server.requests(), 1);
    theirs.put("c", 'a', r#"["10.0.0.1"]"#).await;
    let ours = Memory::with("c", 'a').await;
    let client = SigningClient::from_store(reqwest::Client::new(), client_id("c"), ours.store());
    assert_eq!(post(&client, server.url("/"), "x").await.0, 403);
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_credential_that_vanished_leaves_the_servers_word() {
    let (server, theirs) = server_with("c", 'a').await;
    let ours = Memory::with("c", 'a').await;
    let client = SigningClient::from_store(reqwest::Client::new(), client_id("c"), ours.store());
    assert_eq!(post(&client, server.url("/"), "x").await.0, 200);
    theirs.wipe();
    ours.wipe();
    let (status, body) = post(&client, server.url("/"), "x").await;
    assert!(status == 401 && body.contains("UNKNOWN_CLIENT"), "{status} {body}");
    let request = client.http().get(server.url("/")).build().unwrap();
    let error = client.execute(request).await.unwrap_err();
    let SendError::Credential(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), ErrorKind::UnknownClient);
}

#[tokio::test]
async fn a_stream_beyond_the_limit_is_not_sent_at_all() {
    let (server, _) = server_with("c", 'a').await;
    let client =
        SigningClient::fixed(reqwest::Client::new(), client_id("c"), &hash('a')).body_limit(3);
    assert_eq!(post(&client, server.url("/"), streamed(&["a", "bc"])).await.0, 200);
    let request =
        client.http().post(server.url("/")).body(streamed(&["a", "bcd"])).build().unwrap();
    let error = client.execute(request).await.unwrap_err();
    assert!(matches!(error, SendError::BodyTooLarge { limit: 3 }), "{error}");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn headers_that_stand_there_already_are_replaced() {
    let (server, _) = server_with("c", 'a').await;
    let client = SigningClient::fixed(reqwest::Client::new(), client_id("c"), &hash('a'));
    let request = client.http().get(server.url("/")).header("x-client-id", "other");
    let request = request.header("x-signature", "00").build();
    let response = client.execute(request.unwrap()).await.unwrap();
    assert_eq!(answer(response).await, (200, "c ".into()));
}
