//! The OpenAPI document and the routes say the same.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::process::{Mesh, Peer, WithJson};

/// Every operation of the document: method, path, description.
async fn operations(peer: &Peer) -> Vec<(Method, String, Map<String, Value>)> {
    let document = peer.get("/openapi.json").await.is(200);
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            found.push((method, path.clone(), operation.as_object().unwrap().clone()));
        }
    }
    found
}

/// What an operation needs to be done: filled-in path and body.
fn example(path: &str) -> (String, Option<Value>) {
    let filled = path.replace("{name}", "webshop").replace("{queue}", "dropped");
    let body = match path {
        "/admin/ensure" | "/admin/rotate" | "/admin/revoke" => json!({"clientId": "webshop"}),
        "/admin/targets" => json!({"targetAmqpQueue": "b", "propagationSecret": "s"}),
        "/admin/call-target" => json!({"target": "http://127.0.0.1:1", "clientId": "webshop"}),
        "/admin/retry" => json!({"clientId": "webshop", "targetAmqpQueue": "b"}),
        "/admin/resend" => json!({"targetAmqpQueue": "b"}),
        "/rotate" => json!({"secretName": "webshop", "force": true}),
        _ => return (filled, None),
    };
    (filled, Some(body))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_operation_answers_as_documented() {
    let mesh = Mesh::new().await;
    let peer = mesh.full("authority").await.ready().await;
    peer.post("/admin/ensure", json!({"clientId": "webshop"})).await.is(201);
    peer.knows(&["dropped"]).await;
    for (method, path, operation) in operations(&peer).await {
        let responses = operation["responses"].as_object().unwrap();
        let (filled, body) = example(&path);
        let build = |token: bool, body: Option<Value>| {
            let url = format!("{}{filled}", peer.url);
            let request = if token {
                peer.request(method.clone(), &filled)
            } else {
                peer.http.request(method.clone(), url)
            };
            match body {
                Some(body) => request.with_json(&body),
                None => request,
            }
        };
        let is_stream =
            responses.get("200").is_some_and(|r| r.to_string().contains("event-stream"));
        if operation.contains_key("security") {
            let answer = peer.send(build(false, body.clone())).await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert!(responses.contains_key("401"), "{method} {path} does not document 401");
        }
        if is_stream {
            continue;
        }
        let mut tries = vec![build(true, body.clone())];
        if body.is_some() {
            tries.push(build(true, Some(json!({"unknown": 1}))));
            tries.push(build(true, None).body("{}"));
            tries.push(build(true, Some(json!({"clientId": "x".repeat(1_100_000)}))));
        }
        let mut seen = BTreeSet::new();
        for request in tries {
            let answer = peer.send(request).await;
            let status = answer.status.to_string();
            assert!(responses.contains_key(&status), "{method} {path} does not document {status}");
            if answer.status >= 400 {
                let body = answer.body.as_object().unwrap();
                assert!(body["error"].is_string() && body["message"].is_string(), "{body:?}");
            }
            seen.insert(answer.status);
        }
        if body.is_some() {
            assert!(
                seen.is_superset(&BTreeSet::from([400, 413, 415])),
                "{method} {path}: {seen:?}"
            );
        }
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_document_refers_to_is_in_it() {
    let mesh = Mesh::new().await;
    let peer = mesh.receive_only("orders").await.start().await;
    let document = peer.get("/openapi.json").await.is(200);
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 10, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_documented() {
    let mesh = Mesh::new().await;
    let peer = mesh.full("authority").await.start().await;
    let documented = operations(&peer).await;
    let documented: BTreeSet<String> =
        documented.iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    for route in [
        "POST /admin/ensure",
        "POST /admin/rotate",
        "POST /admin/revoke",
        "POST /admin/sync",
        "GET /admin/state",
        "POST /admin/targets",
        "DELETE /admin/targets/{queue}",
        "POST /admin/call-target",
        "POST /admin/retry",
        "POST /admin/resend",
        "GET /admin/audit",
        "GET /admin/due",
        "GET /admin/refused",
        "POST /rotate",
        "GET /secrets/{name}",
        "GET /health",
        "GET /health/ready",
        "GET /api/echo",
        "GET /openapi.json",
    ] {
        assert!(documented.contains(route), "{route}");
    }
    // And a documented one is a route: no other method is answered there.
    for operation in &documented {
        let (_, path) = operation.split_once(' ').unwrap();
        let (filled, _) = example(path);
        let answer = peer.send(peer.request(Method::TRACE, &filled)).await;
        // Whoever does not sign learns nothing more there.
        let expected = if path == "/api/echo" { 401 } else { 405 };
        assert_eq!(answer.status, expected, "{path}");
    }
}
