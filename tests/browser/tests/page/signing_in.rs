//! Who gets in, and what the browser keeps.

use serde_json::Value;

use crate::operator::{Operator, TOKEN};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_token_opens_the_page_and_no_script_sees_what_the_browser_keeps() {
    let operator = Operator::at_the_door().await;
    let browser = &operator.browser;
    operator.go("/page/targets").await;
    assert_eq!(browser.path().await, "/page/login");
    browser.fill("#token", "not the token at all").await;
    browser.follow("button.main").await;
    assert_eq!(browser.text("[role=alert]").await, "This is not the admin token.");
    operator.sign_in().await;
    assert_eq!(browser.run("return document.cookie").await, Value::from(""));
    let page = browser.run("return document.documentElement.outerHTML").await.to_string();
    assert!(!page.contains(TOKEN));

    browser.follow("form.out button").await;
    assert_eq!(browser.path().await, "/page/login");
    operator.go("/").await;
    assert_eq!(browser.path().await, "/page/login");
}
