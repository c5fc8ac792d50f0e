//! What gets through to an axum service, and what the others are told.

use axum::Router;
use axum::extract::OriginalUri;
use hmac_propagator::auth::{RefusalCode, TrustedProxies};
use hmac_propagator::client::SigningClient;
use hmac_propagator::http::HmacLayer;
use hmac_propagator::id::Track;
use hmac_propagator::state::RedisState;
use hmac_propagator::store::RedisCredentialStore;
use hmac_propagator::verify::Verifier;
use hmac_propagator_support::Redis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Memory, Server, answer, app, client_id, hash, signed};

async fn post(
    server: &Server,
    target: &str,
    body: &'static str,
    headers: impl IntoIterator<Item = (&'static str, String)>,
) -> (u16, String) {
    let mut request = reqwest::Client::new().post(server.url(target)).body(body);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    answer(request.send().await.unwrap()).await
}

fn refusal(code: RefusalCode) -> (u16, String) {
    let body = format!(r#"{{"error":"{code}","message":"{}"}}"#, code.message());
    (code.status(), body)
}

#[tokio::test]
async fn a_signed_request_arrives_with_its_body_and_its_client() {
    let server = Server::start(app(Memory::with("orders", 'a').await.layer())).await;
    let headers = signed("orders", 'a', "POST", "/v1/x?b=1&a=%20", b"{\"item\":7}");
    let answered = post(&server, "/v1/x?b=1&a=%20", "{\"item\":7}", headers).await;
    assert_eq!(answered, (200, "orders {\"item\":7}".into()));
}

#[tokio::test]
async fn refusals_are_json_with_code_message_and_status() {
    let memory = Memory::with("c", 'a').await;
    memory.put("bound", 'a', r#"["10.0.0.1"]"#).await;
    let server = Server::start(app(memory.layer())).await;
    let good = || signed("c", 'a', "POST", "/", b"x");
    for (missing, code) in [
        ("x-client-id", RefusalCode::MissingClientId),
        ("x-signature", RefusalCode::MissingSignature),
        ("x-timestamp", RefusalCode::MissingTimestamp),
        ("x-nonce", RefusalCode::MissingNonce),
    ] {
        let headers = good().into_iter().filter(|(name, _)| *name != missing);
        assert_eq!(post(&server, "/", "x", headers).await, refusal(code));
    }
    let wrong = signed("c", 'b', "POST", "/", b"x");
    assert_eq!(post(&server, "/", "x", wrong).await, refusal(RefusalCode::BadSignature));
    let nobody = signed("nobody", 'a', "POST", "/", b"x");
    assert_eq!(post(&server, "/", "x", nobody).await, refusal(RefusalCode::UnknownClient));
    let bound = signed("bound", 'a', "POST", "/", b"x");
    assert_eq!(post(&server, "/", "x", bound).await, refusal(RefusalCode::ClientIpNotAllowed));
    let once = good();
    assert_eq!(post(&server, "/", "x", once.clone()).await, (200, "c x".into()));
    assert_eq!(post(&server, "/", "x", once).await, refusal(RefusalCode::ReplayedNonce));
}

#[tokio::test]
async fn a_store_that_is_away_is_an_internal_error_that_names_nothing() {
    let redis = Redis::start().await.unwrap();
    let state = RedisState::open(&redis.url()).unwrap();
    let store = RedisCredentialStore::new(state, Track::Http, "hmac:http");
    let server = Server::start(app(HmacLayer::new(Verifier::new(store)))).await;
    redis.kill().await.unwrap();
    let answered = post(&server, "/", "x", signed("c", 'a', "POST", "/", b"x")).await;
    assert_eq!(answered, refusal(RefusalCode::InternalError));
}

#[tokio::test]
async fn a_forwarded_address_counts_only_from_a_trusted_proxy() {
    let memory = Memory::default();
    memory.put("c", 'a', r#"["10.0.0.1"]"#).await;
    let open = Server::start(app(memory.layer())).await;
    let proxies = TrustedProxies::parse(&["127.0.0.0/8", "192.168.0.0/16"]).unwrap();
    let behind = Server::start(app(memory.layer().trusted_proxies(proxies))).await;
    let denied = refusal(RefusalCode::ClientIpNotAllowed);
    let nowhere = refusal(RefusalCode::MissingClientIp);
    let allowed = (200, "c x".into());
    for (server, forwarded, expected) in [
        (&open, "10.0.0.1", &denied),
        (&open, "127.0.0.1, 10.0.0.1", &denied),
        (&behind, "10.0.0.1", &allowed),
        (&behind, "6.6.6.6, 10.0.0.1, 192.168.7.7", &allowed),
        (&behind, "10.0.0.1, 6.6.6.6", &denied),
        (&behind, "10.0.0.1, unknown", &nowhere),
    ] {
        let headers = signed("c", 'a', "POST", "/", b"x").into_iter();
        let headers = headers.chain([("x-forwarded-for", forwarded.to_owned())]);
        assert_eq!(post(server, "/", "x", headers).await, *expected, "{forwarded}");
    }
}

#[tokio::test]
async fn without_a_known_peer_an_address_bound_credential_is_refused() {
    let memory = Memory::default();
    memory.put("c", 'a', r#"["127.0.0.1"]"#).await;
    let server = Server::start(app(HmacLayer::new(Verifier::new(memory.store())))).await;
    let answered = post(&server, "/", "x", signed("c", 'a', "POST", "/", b"x")).await;
    assert_eq!(answered, refusal(RefusalCode::MissingClientIp));
}

#[tokio::test]
async fn a_router_that_strips_a_prefix_needs_to_say_where_the_whole_path_is() {
    let memory = Memory::with("c", 'a').await;
    let whole = |parts: &http::request::Parts| {
        parts.extensions.get::<OriginalUri>().map(|original| original.0.clone())
    };
    let nested = |layer| Router::new().nest("/api", app(layer));
    let told = Server::start(nested(memory.layer().target(whole))).await;
    let untold = Server::start(nested(memory.layer())).await;
    let headers = || signed("c", 'a', "POST", "/api/x?y", b"x");
    assert_eq!(post(&told, "/api/x?y", "x", headers()).await, (200, "c x".into()));
    let refused = post(&untold, "/api/x?y", "x", headers()).await;
    assert_eq!(refused, refusal(RefusalCode::BadSignature));
}

#[tokio::test]
async fn a_header_sent_twice_is_refused_whichever_comes_first() {
    let server = Server::start(app(Memory::with("c", 'a').await.layer())).await;
    for (name, other, code) in [
        ("x-client-id", "other", RefusalCode::UnknownClient),
        ("x-timestamp", "1", RefusalCode::InvalidTimestamp),
        ("x-nonce", "other", RefusalCode::BadSignature),
        ("x-signature", "00", RefusalCode::BadSignature),
    ] {
        let good = || signed("c", 'a', "POST", "/", b"x").into_iter();
        let twice = [(name, other.to_owned())];
        let after = post(&server, "/", "x", good().chain(twice.clone())).await;
        let before = post(&server, "/", "x", twice.into_iter().chain(good())).await;
        assert_eq!((after, before), (refusal(code), refusal(code)), "{name}");
    }
}

#[tokio::test]
async fn a_client_id_beyond_ascii_is_read_as_utf8_and_as_node_sends_it() {
    let memory = Memory::with("caf\u{e9}", 'a').await;
    let server = Server::start(app(memory.layer())).await;
    for id in ["caf\u{e9}".as_bytes(), b"caf\xe9"] {
        let mut request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n".to_vec();
        for (name, value) in signed("", 'a', "POST", "/", b"x") {
            let value = if name == "x-client-id" { id } else { value.as_bytes() };
            request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        request.extend(b"connection: close\r\n\r\nx");
        assert_eq!(raw(&server, &request).await, 200, "{id:x?}");
    }
    for id in ["caf\u{e9}", "\u{416}", "\u{c3}\u{a9}"] {
        memory.put(id, 'b', "[]").await;
        let client = SigningClient::fixed(reqwest::Client::new(), client_id(id), &hash('b'));
        let request = client.http().get(server.url("/")).build().unwrap();
        assert_eq!(client.execute(request).await.unwrap().status(), 200, "{id}");
    }
}

/// Sends bytes as they are and returns the status of the answer; 0 when the server only hung up.
async fn raw(server: &Server, request: &[u8]) -> u16 {
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    connection.write_all(request).await.unwrap();
    connection.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = connection.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    text.strip_prefix("HTTP/1.1 ").map_or(0, |rest| rest[..3].parse().unwrap())
}

#[tokio::test]
async fn hostile_requests_get_a_client_error_and_the_server_lives_on() {
    let server = Server::start(app(Memory::with("c", 'a').await.layer())).await;
    let proof = "x-client-id: c\r\nx-timestamp: 1\r\nx-nonce: n\r\nx-signature: \u{ff}\r\n";
    for target in ["//", "/%", "/%zz%", "///[", "http://[/", "*", "/\u{e9}", "/<>`", "/#x"] {
        for host in ["[", "a", "", "%"] {
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
            let proof = proof.replace(": 1\r", &format!(": {now}\r"));
            let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{proof}\r\n");
            let status = raw(&server, head.as_bytes()).await;
            assert!((400..500).contains(&status), "{target} {host}: {status}");
        }
    }
    for rest in [
        "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 5\r\n\r\nx",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nffffffffffffffff\r\n",
    ] {
        let status = raw(&server, format!("POST / HTTP/1.1\r\nHost: a\r\n{rest}").as_bytes()).await;
        assert!(status == 0 || (400..500).contains(&status), "{rest:?}: {status}");
    }
    let headers = signed("c", 'a', "POST", "/", b"x");
    assert_eq!(post(&server, "/", "x", headers).await, (200, "c x".into()));
}
