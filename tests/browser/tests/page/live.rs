//! The matrix follows what happens.

use crate::operator::Operator;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_matrix_changes_without_a_reload() {
    let operator = Operator::start().await;
    let browser = &operator.browser;
    operator.ensure("shop").await;
    operator.go("/").await;
    operator.cell("shop", "billing", "ok").await;
    browser.until("document.querySelector('#live.on')").await;
    browser.run("window.marker = 'still here'; return 0").await;

    // In another way than through this page.
    let http = client();
    let post = |path: &str, body: serde_json::Value| {
        let request = http.post(operator.authority.url(path)).bearer_auth(crate::operator::TOKEN);
        request.header("content-type", "application/json").body(body.to_string()).send()
    };
    let body = serde_json::json!({"clientId": "till", "targets": ["orders"]});
    assert_eq!(post("/admin/ensure", body).await.unwrap().status(), 201);
    operator.cell("till", "orders", "ok").await;
    // What has the focus keeps it while its row changes.
    browser.run("document.querySelector('[data-key=\"http:shop\"] a').focus(); return 0").await;
    let body = serde_json::json!({"clientId": "shop"});
    assert_eq!(post("/admin/revoke", body).await.unwrap().status(), 201);
    browser.until("document.querySelector('tr.gone[data-key=\"http:shop\"] td.ok')").await;
    let focus = browser.run("return document.activeElement.textContent").await;
    assert_eq!(focus, "shop");
    assert_eq!(browser.run("return window.marker").await, "still here");
    assert_eq!(browser.text("#live").await, "Live");
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_says_that_it_is_not_live_when_the_peer_is_gone() {
    let operator = Operator::start().await;
    operator.go("/").await;
    operator.browser.until("document.querySelector('#live.on')").await;
    let Operator { browser, authority, .. } = operator;
    authority.terminate(std::time::Duration::from_secs(15)).await.unwrap();
    browser.until("document.querySelector('#live:not(.on)')").await;
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}
