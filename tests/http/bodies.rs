//! Bodies in bounded memory and time, on any service.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use bytes::Buf;
use futures_util::{StreamExt, stream};
use hmac_propagator::http::HmacLayer;
use hmac_propagator::verify::{Verified, Verifier};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use tower::{Layer, ServiceExt};

use crate::server::{Memory, signed};

/// A plain service that answers with the length of the body.
async fn call(layer: HmacLayer, request: Request<Body>) -> (StatusCode, String) {
    let service = layer.layer(tower::service_fn(|request: Request<Full<Bytes>>| async move {
        assert!(request.extensions().get::<Verified>().is_some());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Ok::<_, Infallible>(Response::new(Full::from(body.len().to_string())))
    }));
    let response = service.oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn layer() -> HmacLayer {
    let memory = Memory::with("c", 'a').await;
    HmacLayer::new(Verifier::new(memory.store())).body_limit(10)
}

fn request(signed_body: &[u8], body: Body) -> Request<Body> {
    let mut request = Request::post("/x");
    for (name, value) in signed("c", 'a', "POST", "/x", signed_body) {
        request = request.header(name, value);
    }
    request.body(body).unwrap()
}

/// A body without a length.
fn streamed(chunks: &[&'static str]) -> Body {
    Body::from_stream(stream::iter(chunks.to_vec()).map(Ok::<_, Infallible>))
}

#[tokio::test]
async fn a_body_up_to_the_limit_passes_and_one_byte_more_is_too_large() {
    let body = "0123456789";
    let passed = call(layer().await, request(body.as_bytes(), body.into())).await;
    assert_eq!(passed, (StatusCode::OK, "10".into()));
    for chunks in [&["01234", "56789"][..], &["", "0", "", "123", "456", "", "789", ""]] {
        let passed = call(layer().await, request(body.as_bytes(), streamed(chunks))).await;
        assert_eq!(passed, (StatusCode::OK, "10".into()));
    }
    let too_long = [&["01234", "56789", "x"][..], &["0123456789x"], &["0123456789", "x"]];
    for too_long in [Body::from("0123456789x")].into_iter().chain(too_long.map(streamed)) {
        let (status, answer) = call(layer().await, request(b"", too_long)).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(answer.starts_with(r#"{"error":"BODY_TOO_LARGE","message":""#), "{answer}");
    }
}

#[tokio::test]
async fn a_limit_that_was_set_before_the_layer_is_told_as_one() {
    let limited = Body::new(Limited::new(streamed(&["01234", "5"]), 5));
    let (status, _) = call(layer().await, request(b"012345", limited)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn trailers_are_not_part_of_what_is_signed() {
    let frames = [
        Frame::data(Bytes::from_static(b"01")),
        Frame::data(Bytes::from_static(b"23")),
        Frame::trailers(HeaderMap::new()),
    ];
    let body = Body::new(StreamBody::new(stream::iter(frames).map(Ok::<_, Infallible>)));
    assert_eq!(call(layer().await, request(b"0123", body)).await, (StatusCode::OK, "4".into()));
}

#[tokio::test]
async fn data_in_several_pieces_is_a_body_too() {
    let data = Bytes::from_static(b"01").chain(Bytes::from_static(b"234"));
    let body = StreamBody::new(stream::iter([Ok::<_, Infallible>(Frame::data(data))]));
    let service = layer().await.layer(tower::service_fn(|request: Request<Full<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    }));
    let request = request(b"01234", Body::empty()).map(|_| body);
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "01234");
}

#[tokio::test]
async fn a_request_without_proof_is_refused_before_its_body_is_read() {
    let never = Body::from_stream(stream::pending::<Result<&'static str, Infallible>>());
    let unsigned = Request::post("/x").body(never).unwrap();
    let answered = tokio::time::timeout(Duration::from_secs(10), call(layer().await, unsigned));
    assert_eq!(answered.await.unwrap().0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_in_time_is_given_up() {
    let never = Body::from_stream(stream::pending::<Result<&'static str, Infallible>>());
    let (status, _) = call(layer().await, request(b"", never)).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_clients_fault() {
    let broken = stream::iter([Ok("x"), Err(std::io::Error::other("gone"))]);
    let (status, _) = call(layer().await, request(b"x", Body::from_stream(broken))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}
