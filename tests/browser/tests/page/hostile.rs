//! Names and reasons that try to be markup.

use crate::operator::Operator;

const HOSTILE: &str = "<img src=x onerror=\"window.hit=1\">'\"&</td><script>window.hit=1</script>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_name_is_text_on_every_page() {
    let operator = Operator::start().await;
    let browser = &operator.browser;
    operator.ensure(HOSTILE).await;
    assert!(browser.text("h1").await.contains(HOSTILE));
    operator.go("/").await;
    let named = "document.querySelector('tbody th a').textContent";
    assert_eq!(browser.run(&format!("return {named}")).await, HOSTILE);
    browser.until("document.querySelectorAll('td.ok').length === 2").await;
    assert_eq!(browser.run(&format!("return {named}")).await, HOSTILE);
    browser.follow("tbody th a").await;
    assert_eq!(browser.text("h1").await, HOSTILE);
    for page in ["/page/audit", "/page/stores"] {
        operator.go(page).await;
        assert!(browser.text("main").await.contains("<script>"), "{page}");
    }
    operator.go("/page/call").await;
    browser.fill("#client", HOSTILE).await;
    browser.follow("form.card button.main").await;
    assert_eq!(browser.run("return document.querySelector('#client').value").await, HOSTILE);
    assert!(browser.run("return window.hit ?? null").await.is_null());
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_got_into_a_page_would_not_run() {
    let operator = Operator::start().await;
    let browser = &operator.browser;
    operator.go("/").await;
    browser
        .run(
            "const script = document.createElement('script'); \
             script.textContent = 'window.hit = 1'; document.body.append(script); return 0",
        )
        .await;
    assert!(browser.run("return window.hit ?? null").await.is_null());
    let complaints = browser.complaints().await;
    assert!(
        complaints.iter().any(|text| text.contains("Content Security Policy")),
        "{complaints:?}"
    );
}
