//! The page, asked without a browser: who is let in, what is refused, what headers say.

use hmac_propagator_support::{Serve, eventually};
use reqwest::{Client, Response, StatusCode};
use serde_json::json;

use crate::peers::{Mesh, SOON, TOKEN, start};

/// A browser's part: a cookie, and the token of the forms.
struct Session {
    http: Client,
    cookie: String,
    csrf: String,
}

impl Session {
    async fn sign_in(peer: &Serve) -> Self {
        let http = client();
        let answer = login(&http, peer, TOKEN, &[]).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
        for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert!(!cookie.contains(TOKEN));
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let mut session = Self { http, cookie, csrf: String::new() };
        let page = session.get(peer, "/page/new").await.text().await.unwrap();
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split('"').next().unwrap().clone_into(&mut session.csrf);
        session
    }

    async fn get(&self, peer: &Serve, path: &str) -> Response {
        let request = self.http.get(peer.url(path)).header("cookie", &self.cookie);
        request.header("accept", "text/html").send().await.unwrap()
    }

    async fn post(&self, peer: &Serve, path: &str, form: &str) -> Response {
        self.post_with(peer, path, &format!("csrf={}&{form}", self.csrf), &[]).await
    }

    async fn post_with(
        &self,
        peer: &Serve,
        path: &str,
        form: &str,
        headers: &[(&str, &str)],
    ) -> Response {
        let mut request = self.http.post(peer.url(path)).header("cookie", &self.cookie);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(form.to_owned()).send().await.unwrap()
    }
}

fn client() -> Client {
    let none = reqwest::redirect::Policy::none();
    Client::builder().no_proxy().redirect(none).build().unwrap()
}

async fn login(http: &Client, peer: &Serve, token: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = http.post(peer.url("/page/login"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.body(format!("token={token}")).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_of_the_page_forbids_what_it_does_not_need() {
    let mesh = Mesh::start().await;
    let session = Session::sign_in(&mesh.authority).await;
    let pages = [
        "/",
        "/page/new",
        "/page/targets",
        "/page/stores",
        "/page/refused",
        "/page/call",
        "/page/audit",
        "/page/login",
        "/page/style.css",
        "/page/app.js",
        "/page/icon.svg",
        "/page/matrix",
        "/page/credential?client=nobody",
        "/page/credential?client=",
    ];
    for page in pages {
        let answer = session.get(&mesh.authority, page).await;
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{page}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{page}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{page}");
        let asset = page.contains('.');
        assert_eq!(header("cache-control"), if asset { "no-cache" } else { "no-store" }, "{page}");
        let text = answer.text().await.unwrap();
        assert!(!text.contains("style=\"") && !text.contains(" onclick"), "{page}");
        assert!(!text.contains(TOKEN), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_a_page_without_signing_in() {
    let mesh = Mesh::start().await;
    let http = client();
    for page in
        ["/", "/page/matrix", "/page/stores", "/page/refused", "/page/audit", "/page/targets"]
    {
        let url = mesh.authority.url(page);
        let answer = http.get(&url).header("accept", "text/html").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{page}");
        assert_eq!(answer.headers()["location"], "/page/login");
        let answer = http.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{page}");
        let forged = http
            .get(&url)
            .header("cookie", "propagator_session_authority=00")
            .send()
            .await
            .unwrap();
        assert_eq!(forged.status(), StatusCode::UNAUTHORIZED, "{page}");
        let answer = http.get(&url).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{page}");
    }
    let session = Session::sign_in(&mesh.authority).await;
    let mut events = session.get(&mesh.authority, "/events").await;
    assert_eq!(events.status(), StatusCode::OK);
    assert!(events.chunk().await.unwrap().is_some());
    // A session is for the page: the API wants the token.
    let answer = session.get(&mesh.authority, "/admin/state").await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    session.post(&mesh.authority, "/page/logout", "").await;
    let answer = session.get(&mesh.authority, "/").await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    // And so does what was read with it.
    let rest = async { while events.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(SOON, rest).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_that_was_not_made_for_the_session_does_nothing() {
    let mesh = Mesh::start().await;
    let (one, other) =
        tokio::join!(Session::sign_in(&mesh.authority), Session::sign_in(&mesh.authority));
    let ensure = "client=forged&secret=s";
    let with = |csrf: &str| format!("csrf={csrf}&{ensure}");
    for form in [ensure.to_owned(), with(""), with(&other.csrf)] {
        let answer = one.post_with(&mesh.authority, "/page/ensure", &form, &[]).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{form}");
    }
    let elsewhere = [("sec-fetch-site", "cross-site")];
    let answer = one.post_with(&mesh.authority, "/page/ensure", &with(&one.csrf), &elsewhere).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let json = [("content-type", "application/json")];
    let answer = one.post_with(&mesh.authority, "/page/ensure", "{}", &json).await;
    assert!(answer.status().is_client_error());
    let answer = login(&one.http, &mesh.authority, TOKEN, &elsewhere).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let long = format!("{}&note={}", with(&one.csrf), "x".repeat(100_000));
    let answer = one.post_with(&mesh.authority, "/page/ensure", &long, &[]).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);

    let page = one.get(&mesh.authority, "/page/credential?client=forged").await;
    assert_eq!(page.status(), StatusCode::NOT_FOUND);
    let answer = one.post(&mesh.authority, "/page/ensure", ensure).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let page = one.get(&mesh.authority, "/page/credential?client=forged").await;
    assert_eq!(page.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_tokens_have_to_wait_and_the_right_one_does_not() {
    let mesh = Mesh::start().await;
    let http = client();
    let mut seen = Vec::new();
    for _ in 0..12 {
        seen.push(login(&http, &mesh.authority, "wrong", &[]).await.status());
    }
    assert_eq!(seen[0], StatusCode::UNAUTHORIZED);
    assert!(seen.contains(&StatusCode::TOO_MANY_REQUESTS), "{seen:?}");
    Session::sign_in(&mesh.authority).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_that_cannot_be_obeyed_say_why_and_repeat_no_secret() {
    let mesh = Mesh::start().await;
    let session = Session::sign_in(&mesh.authority).await;
    let cases = [
        ("/page/ensure", "client=&secret=typed", 400, "clientId"),
        ("/page/ensure", "client=x&secret=typed&targets=nowhere", 422, "nowhere"),
        ("/page/ensure", "client=x&secret=typed&targets=authority", 422, "own queue"),
        ("/page/ensure", "client=x&secret=typed&allowedIps=10.0.0.0/33", 400, "allowedIps"),
        ("/page/ensure", "client=x&secret=typed&expiresAt=soon", 400, "expiresAt"),
        ("/page/ensure", "client=x&secret=typed&expiresAt=2001-01-01T00:00", 400, "expiresAt"),
        ("/page/ensure", "client=x&secret=typed&rotateAfterDays=0", 400, "rotateAfterDays"),
        ("/page/ensure", "client=x&secret=typed&rotateAfterDays=3651", 400, "rotateAfterDays"),
        ("/page/rotate", "client=nobody&secret=typed", 404, "nobody"),
        ("/page/revoke", "client=nobody", 400, "confirm"),
        ("/page/retry", "client=nobody&target=orders", 404, "orders"),
        ("/page/targets/add", "target=a+b&propagationSecret=typed", 400, "target"),
        ("/page/targets/add", "target=b&propagationSecret=", 400, "propagation secret"),
        (
            "/page/targets/add",
            "target=b&propagationSecret=typed&receiveOnly=y&signs=y",
            400,
            "signs",
        ),
        ("/page/targets/drop", "target=nowhere", 404, "nowhere"),
    ];
    for (path, form, status, part) in cases {
        let answer = session.post(&mesh.authority, path, form).await;
        assert_eq!(answer.status().as_u16(), status, "{path} {form}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(part) && text.contains("role=\"alert\""), "{path} {form}: {text}");
        assert!(!text.contains("typed"), "{path} {form}");
    }
    let call = "client=x&secret=typed&url=http://127.0.0.1:1/";
    let answer = session.post(&mesh.authority, "/page/call", call).await.text().await.unwrap();
    assert!(answer.contains("CALL_TARGET_ORIGINS") && !answer.contains("typed"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_gets_another_secret_keeps_all_else() {
    let mesh = Mesh::start().await;
    let session = Session::sign_in(&mesh.authority).await;
    let change = async |form: &str| {
        let form = format!("target=orders&propagationSecret=another&{form}");
        let answer = session.post(&mesh.authority, "/page/targets/add", &form).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let request = mesh.http.get(mesh.authority.url("/admin/state")).bearer_auth(TOKEN);
        let state = request.send().await.unwrap().text().await.unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        let target = &state["targets"][0];
        (target["receiveOnly"].clone(), target["note"].clone())
    };
    assert_eq!(change("note=the+shop").await, (json!(true), json!("the shop")));
    assert_eq!(change("").await, (json!(true), json!("the shop")));
    assert_eq!(change("signs=yes").await, (json!(false), json!("the shop")));
    assert_eq!(change("receiveOnly=yes").await, (json!(true), json!("the shop")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_mesh_is_shown_page_by_page() {
    let mesh = Mesh::start().await;
    for n in 0..13 {
        let body = json!({"targetAmqpQueue": format!("peer-{n:02}"), "propagationSecret": "s"});
        assert_eq!(mesh.post("/admin/targets", body).await.status(), StatusCode::CREATED);
    }
    for n in 0..30 {
        let body =
            json!({"clientId": format!("client-{n:02}"), "secret": "s", "targets": ["peer-12"]});
        assert_eq!(mesh.post("/admin/ensure", body).await.status(), StatusCode::CREATED);
    }
    let session = Session::sign_in(&mesh.authority).await;
    let get = async |path: &str| session.get(&mesh.authority, path).await.text().await.unwrap();
    let first = get("/").await;
    assert!(first.contains(">client-24<") && !first.contains(">client-25<"), "25 rows");
    // `orders` comes before `peer-…`: 12 of 14.
    assert!(first.contains(">peer-10<") && !first.contains(">peer-11<"));
    assert!(first.contains("Targets 1–12 of 14"), "{first}");
    // What is wrong with a target on another page is seen at the row all the same.
    assert!(first.contains("class=\"wait\"") || first.contains("class=\"sent\""), "{first}");
    let next = link(&first, "next page");
    let second = get(&next).await;
    assert!(second.contains(">client-29<") && !second.contains(">client-24<"));
    let columns = get(&link(&first, "targets →")).await;
    assert!(columns.contains(">peer-12<") && !columns.contains(">peer-10<"));
    assert!(get("/?column=99999999999999999999").await.contains(">peer-10<"));
    assert!(get("/?column=9999").await.contains(">peer-12<"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receive_only_peer_shows_what_it_holds() {
    let mesh = Mesh::start().await;
    mesh.ensure("shop", "secret").await;
    mesh.eventually(r#"propagator_revisions_completed_total{outcome="success"}"#, |n| n >= 1.0)
        .await;
    let session = client();
    let answer = session.get(mesh.target.url("/")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let text = answer.text().await.unwrap();
    assert!(text.contains("shop") && !text.contains("/page/new"), "{text}");
    let refused =
        session.get(mesh.target.url("/page/audit")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_the_page_is_for_this_machine_under_a_local_name() {
    let mesh = Mesh::start().await;
    let open = start(&mesh.vhost, "open", true, &[]).await;
    let http = client();
    let answer = http.get(open.url("/page/new")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    let page = answer.text().await.unwrap();
    assert!(!page.contains("Sign out"));
    // Forms carry a token here too: other sites' pages can reach this machine.
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
    let csrf = rest.split('"').next().unwrap().to_owned();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let session = Session { http, cookie, csrf };
    let forged = session.post_with(&open, "/page/ensure", "client=x&secret=s", &[]).await;
    assert_eq!(forged.status(), StatusCode::FORBIDDEN);
    let made = session.post(&open, "/page/ensure", "client=x&secret=s").await;
    assert_eq!(made.status(), StatusCode::SEE_OTHER);
    let rebound = [("host", "evil.example"), ("cookie", session.cookie.as_str())];
    let answer = session.post_with(&open, "/page/ensure", "client=x", &rebound).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

fn link(page: &str, label: &str) -> String {
    let (before, _) = page.split_once(&format!(">{label}")).unwrap();
    let (_, link) = before.rsplit_once("href=\"").unwrap();
    link.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_that_passes_through_the_page_is_logged() {
    let mesh = Mesh::start_with(&[("LOG", "trace".to_owned())]).await;
    let session = Session::sign_in(&mesh.authority).await;
    let made = session.post(&mesh.authority, "/page/ensure", "client=shop&targets=orders").await;
    assert_eq!(made.headers()["cache-control"], "no-store");
    let made = made.text().await.unwrap();
    let (_, rest) = made.split_once("class=\"secret\"").unwrap();
    let (_, rest) = rest.split_once('>').unwrap();
    let made = rest.split('<').next().unwrap().to_owned();
    assert_eq!(made.len(), 64);
    for (path, form) in [
        ("/page/rotate", "client=shop&secret=typed-by-hand"),
        ("/page/targets/add", "target=spare&propagationSecret=secret-of-spare"),
        ("/page/call", "client=shop&secret=another-secret&url=http://127.0.0.1:1/"),
        ("/page/logout", ""),
    ] {
        let answer = session.post(&mesh.authority, path, form).await;
        assert!(!answer.status().is_server_error(), "{path}");
    }
    login(&session.http, &mesh.authority, "mistyped-token", &[]).await;
    let id = session.cookie.split_once('=').unwrap().1.to_owned();
    let output = mesh.authority.output();
    assert!(output.contains("somebody tried to sign in"), "{output}");
    for secret in [
        TOKEN,
        &id,
        &session.csrf,
        &made,
        "typed-by-hand",
        "secret-of-spare",
        "another-secret",
        "mistyped-token",
    ] {
        assert!(!output.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_messages_are_on_a_page_of_their_own_at_peers_of_either_kind() {
    let mesh = Mesh::start().await;
    let queues = mesh.vhost.queues().await.unwrap();
    for (peer, name) in [(&mesh.authority, "authority"), (&mesh.target, "orders")] {
        let http = client();
        let shown = || async {
            let request = http.get(peer.url("/page/refused")).bearer_auth(TOKEN);
            request.send().await.unwrap().text().await.unwrap()
        };
        let page = shown().await;
        assert!(page.contains(r#"<p class="empty">None.</p>"#), "{page}");
        let hostile =
            json!({"clientId": "<script>alert(1)</script>", "propagationSecret": "hidden"});
        let queue = format!("hmac-{name}.queue");
        queues.publish(&queue, hostile.to_string().as_bytes()).await.unwrap();
        let page = eventually(SOON, || async {
            let page = shown().await;
            page.contains("malformed").then_some(page)
        })
        .await;
        assert!(page.contains("alert(1)") && !page.contains("<script>alert"), "{page}");
        assert!(!page.contains("hidden\"") && !page.contains("&quot;hidden"), "{page}");
        assert!(page.contains(r#"href="/page/refused" aria-current="page""#), "{page}");
    }
}
