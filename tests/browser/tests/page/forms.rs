//! Each form, used.

use crate::operator::Operator;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_is_made_rotated_called_with_and_revoked() {
    let operator = Operator::start().await;
    let browser = &operator.browser;
    let first = operator.ensure("shop").await;
    assert_eq!(first.len(), 64);
    // It is shown once.
    browser.follow("main > p > a").await;
    let page = browser.run("return document.documentElement.outerHTML").await.to_string();
    assert!(!page.contains(&first));
    operator.go("/").await;
    for target in ["orders", "billing"] {
        operator.cell("shop", target, "ok").await;
    }
    assert!(call(&operator, "shop", Some(&first)).await.starts_with("200"));
    assert!(call(&operator, "shop", None).await.starts_with("200"));
    assert!(call(&operator, "shop", Some("another")).await.contains("BAD_SIGNATURE"));

    open(&operator, "shop").await;
    browser.fill("#rotate-secret", "chosen by hand").await;
    browser.follow("[action='/page/rotate'] button").await;
    assert_eq!(operator.notice().await, "shop has a new secret.");
    assert!(call(&operator, "shop", Some("chosen by hand")).await.starts_with("200"));
    assert!(call(&operator, "shop", Some(&first)).await.contains("BAD_SIGNATURE"));

    open(&operator, "shop").await;
    browser.click("[action='/page/revoke'] [name=confirm]").await;
    browser.follow("[action='/page/revoke'] button").await;
    assert_eq!(operator.notice().await, "shop is revoked.");
    operator.go("/").await;
    operator.cell("shop", "orders", "ok").await;
    browser.until("document.querySelector('tr.gone td.ok').textContent.includes('removed')").await;

    browser.follow("[action='/page/sync'] button").await;
    assert!(operator.notice().await.starts_with("Synced: "));
    operator.go("/page/audit").await;
    let audit = browser.text("main").await;
    for action in ["ensure", "rotate", "revoke", "target added", "target success"] {
        assert!(audit.contains(action), "{action}: {audit}");
    }
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_come_and_go_and_one_in_use_stays() {
    let operator = Operator::start().await;
    let browser = &operator.browser;
    operator.ensure("shop").await;
    let drop = |name: &str| format!("[action='/page/targets/drop']:has([value={name}]) button");
    operator.go("/page/targets").await;
    browser.follow(&drop("orders")).await;
    let refusal = browser.text("main").await;
    assert!(refusal.contains("orders is a target of 1 credentials"), "{refusal}");
    operator.add_target("spare").await;
    browser.follow(&drop("spare")).await;
    assert_eq!(operator.notice().await, "spare was dropped.");
    // Its own queue is no target.
    browser.fill("#target", "authority").await;
    browser.fill("#propagationSecret", "x").await;
    browser.follow("form.card button.main").await;
    assert!(browser.text("main").await.contains("own queue"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_failed_is_tried_again() {
    let operator = Operator::start().await;
    let browser = &operator.browser;
    let queues = operator.refuse_queue("odd").await;
    operator.add_target("odd").await;
    operator.go("/page/new").await;
    browser.fill("#client", "shop").await;
    browser.fill("#secret", "secret").await;
    browser.click("[name=targets][value=odd]").await;
    browser.follow("form.card button.main").await;
    operator.go("/").await;
    operator.cell("shop", "odd", "retry").await;
    queues.delete("hmac-odd.queue").await.unwrap();
    open(&operator, "shop").await;
    browser.follow("[action='/page/retry'] button").await;
    assert_eq!(operator.notice().await, "odd is tried again.");
    operator.go("/").await;
    operator.cell("shop", "odd", "sent").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_store_is_seen_and_one_that_differs_is_marked() {
    let operator = Operator::start().await;
    let browser = &operator.browser;
    operator.ensure("shop").await;
    operator.go("/").await;
    for target in ["orders", "billing"] {
        operator.cell("shop", target, "ok").await;
    }
    let prints = "const codes = document.querySelectorAll('tbody code'); \
        return Array.from(codes).map(code => code.textContent).join(' ')";
    operator.go("/page/stores").await;
    let same = browser.run(prints).await.as_str().unwrap().to_owned();
    let same: Vec<&str> = same.split(' ').collect();
    assert_eq!(same.len(), 3);
    assert!(same.iter().all(|print| *print == same[0] && print.len() == 8));

    let stored: String =
        operator.orders.redis().command(&["HGET", "hmac:http:clients", "shop"]).await.unwrap();
    let hash = stored.split('"').find(|text| text.len() == 64).unwrap();
    assert!(!browser.run("return document.body.innerHTML").await.to_string().contains(hash));
    let other = stored.replace(hash, &"ab".repeat(32));
    let redis = operator.orders.redis();
    let _: i64 = redis.command(&["HSET", "hmac:http:clients", "shop", &other]).await.unwrap();
    operator.billing.redis().pause().await.unwrap();
    operator.go("/page/stores?peer=orders").await;
    let page = browser.text("main").await;
    assert!(page.contains("secrets differ"), "{page}");
    assert!(page.contains("cannot be read"), "{page}");
    operator.billing.redis().resume().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_scripts_everything_is_done_all_the_same() {
    let operator = Operator::start().await;
    operator.browser.scripts(false).await;
    let made = operator.ensure("shop").await;
    assert_eq!(made.len(), 64);
    operator.go("/").await;
    let page = operator.browser.text("#matrix").await;
    assert!(page.contains("shop") && page.contains("orders"), "{page}");
}

async fn open(operator: &Operator, client: &str) {
    operator.go(&format!("/page/credential?track=http&client={client}")).await;
}

/// Makes a test call; the status and the body.
async fn call(operator: &Operator, client: &str, secret: Option<&str>) -> String {
    operator.go("/page/call").await;
    operator.browser.fill("#client", client).await;
    if let Some(secret) = secret {
        operator.browser.fill("#secret", secret).await;
    }
    operator.browser.follow("form.card button.main").await;
    operator.browser.text("section[aria-labelledby=answer]").await.replacen("Answer\n", "", 1)
}
