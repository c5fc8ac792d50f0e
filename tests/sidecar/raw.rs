//! Requests as no client library sends them: refused with a 4xx, and the process goes on.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::{Mesh, Peer, SOON, TOKEN};

/// Sends bytes and reads what is answered: the head of the answer, or all until the other side closes.
async fn exchange(peer: &Peer, bytes: &[u8], all: bool) -> String {
    let address = peer.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may refuse and close before all is written.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let reading = async {
        let mut part = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut part).await {
            answer.extend_from_slice(&part[..length]);
            if !all && answer.windows(4).any(|end| end == b"\r\n\r\n") {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, reading).await.expect("it neither answers nor closes");
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    let line = answer.lines().next().unwrap_or_default();
    line.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_else(|_| panic!("{answer:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_end_in_a_4xx() {
    let mesh = Mesh::new().await;
    let peer = mesh.full("authority").await.start().await;
    let admin = format!("authorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n");
    let long = format!("x: {}\r\n", "y".repeat(100 * 1024));
    let many: String = (0..500).map(|number| format!("x-{number}: y\r\n")).collect();
    let cases = [
        ("GET /nowhere HTTP/1.1\r\nHost: [\r\n\r\n".to_owned(), &[404, 400][..]),
        ("GET // HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &[404, 400]),
        ("GET //evil.example/admin/state HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &[404, 400]),
        ("GET /% HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &[404, 400]),
        (format!("GET /secrets/% HTTP/1.1\r\nHost: [\r\n{admin}\r\n"), &[400]),
        (format!("GET /secrets/%ff HTTP/1.1\r\nHost: a\r\n{admin}\r\n"), &[400]),
        ("GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &[400, 404]),
        ("GET /<> HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &[400, 404]),
        ("nonsense\r\n\r\n".to_owned(), &[400]),
        ("GET /nowhere HTTP/9.9\r\n\r\n".to_owned(), &[400]),
        (format!("GET /health HTTP/1.1\r\nHost: a\r\n{long}\r\n"), &[431, 400]),
        (format!("GET /health HTTP/1.1\r\nHost: a\r\n{many}\r\n"), &[431, 400]),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(100 * 1024)), &[414, 431, 400]),
        (
            format!(
                "POST /admin/ensure HTTP/1.1\r\nHost: a\r\n{admin}Content-Length: 3\r\nContent-Length: 4\r\n\r\n{{}}"
            ),
            &[400],
        ),
        (
            format!("POST /admin/ensure HTTP/1.1\r\nHost: a\r\n{admin}Content-Length: x\r\n\r\n"),
            &[400],
        ),
        (
            format!(
                "POST /admin/ensure HTTP/1.1\r\nHost: a\r\n{admin}Transfer-Encoding: chunked\r\n\r\nzz\r\n"
            ),
            &[400],
        ),
        (
            format!(
                "POST /admin/ensure HTTP/1.1\r\nHost: a\r\n{admin}Content-Length: 99999999999\r\n\r\n"
            ),
            &[413],
        ),
        (
            format!(
                "POST /admin/sync HTTP/1.1\r\nHost: a\r\n{admin}Content-Length: 2000000\r\n\r\n"
            ),
            &[413],
        ),
        (format!("GET http://[/health HTTP/1.1\r\nHost: a\r\n{admin}\r\n"), &[400]),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &[200, 400, 404, 405]),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &[400, 404, 405]),
    ];
    for (request, expected) in cases {
        let answer = exchange(&peer, request.as_bytes(), false).await;
        let head: String = request.chars().take(80).collect();
        assert!(expected.contains(&status(&answer)), "{head:?}: {answer}");
    }
    peer.get("/health").await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_length_beside_chunks_does_not_smuggle_a_second_request() {
    let mesh = Mesh::new().await;
    let peer = mesh.full("authority").await.start().await;
    let request = format!(
        "POST /admin/sync HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nGET /admin/state HTTP/1.1\r\nHost: a\r\nConnection: close\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    let answer = exchange(&peer, request.as_bytes(), true).await;
    assert!((400..500).contains(&status(&answer)), "{answer}");
    assert!(!answer.contains("credentials"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_most_connections_one_waits_for_its_turn() {
    let mesh = Mesh::new().await;
    let peer = mesh.full("authority").await.start().await;
    let address = peer.url.trim_start_matches("http://").to_owned();
    let mut open = Vec::new();
    for _ in 0..512 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        // Answered, so it has its place.
        assert!(stream.read(&mut [0; 1000]).await.unwrap() > 0);
        open.push(stream);
    }
    let asked = peer.get("/health");
    tokio::pin!(asked);
    let early = tokio::time::timeout(Duration::from_millis(500), asked.as_mut()).await;
    assert!(early.is_err(), "one more was served");
    drop(open.pop());
    asked.await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_headers_and_slow_bodies_are_ended() {
    let mesh = Mesh::new().await;
    let peer = mesh.full("authority").await.start().await;
    let address = peer.url.trim_start_matches("http://").to_owned();
    let slow = |head: String| {
        let address = address.clone();
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let ended = stream.read_to_end(&mut answer);
            let ended = tokio::time::timeout(Duration::from_secs(50), ended).await;
            assert!(ended.is_ok(), "the connection stays open for {head:?}");
            String::from_utf8_lossy(&answer).into_owned()
        }
    };
    let body = format!(
        "POST /admin/ensure HTTP/1.1\r\nHost: a\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\nContent-Length: 50\r\n\r\n{{"
    );
    let (headers, body, nothing) = tokio::join!(
        slow("GET /health HTTP/1.1\r\nHost: a\r\nx: ".to_owned()),
        slow(body),
        slow(String::new()),
    );
    for answer in [headers, nothing] {
        assert!(answer.is_empty() || status(&answer) == 408, "{answer}");
    }
    assert_eq!(status(&body), 408, "{body}");
}
