//! On a phone, in the dark, by keyboard.

use std::path::{Path, PathBuf};

use crate::operator::Operator;

const PAGES: [&str; 7] =
    ["/", "/page/new", "/page/targets", "/page/stores", "/page/call", "/page/audit", ONE];
const ONE: &str = "/page/credential?track=http&client=shop";

/// Set to write screenshots there anew.
const WANTED: &str = "HMAC_SCREENSHOTS";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_is_wider_than_a_phone() {
    let operator = Operator::start().await;
    let browser = &operator.browser;
    operator.ensure("shop").await;
    operator.ensure(&"a-client-with-a-name-that-does-not-end".repeat(6)).await;
    browser.screen(360, 740, true).await;
    for page in PAGES {
        operator.go(page).await;
        let width = browser.run("return document.documentElement.scrollWidth").await;
        assert!(width.as_u64().unwrap() <= 360, "{page}: {width}");
        // What is touched is large enough to be hit.
        let small = "return Array.from(document.querySelectorAll('main button, main input:not([type=hidden]), main select'))\
            .map(part => part.getBoundingClientRect()).filter(box => box.height > 0 && box.height < 20).length";
        assert_eq!(browser.run(small).await, 0, "{page}");
        keep(
            browser.screenshot().await,
            &format!("phone{}", page.replace(['/', '?', '&', '='], "-")),
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_can_be_read_by_day_and_by_night() {
    let operator = Operator::start().await;
    let browser = &operator.browser;
    operator.ensure("shop").await;
    let mut backgrounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefers(scheme).await;
        for page in PAGES {
            operator.go(page).await;
            let worst = browser.run(CONTRAST).await;
            assert!(worst["ratio"].as_f64().unwrap() >= 4.5, "{scheme} {page}: {worst}");
            keep(
                browser.screenshot().await,
                &format!("{scheme}{}", page.replace(['/', '?', '&', '='], "-")),
            );
        }
        backgrounds
            .push(browser.run("return getComputedStyle(document.body).backgroundColor").await);
    }
    assert_ne!(backgrounds[0], backgrounds[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_is_made_by_keyboard_alone_and_the_focus_is_seen() {
    let operator = Operator::start().await;
    let browser = &operator.browser;
    operator.go("/page/new").await;
    browser.press("\u{e004}").await;
    assert_eq!(browser.run("return document.activeElement.className").await, "skip");
    browser.press("\u{e007}").await;
    browser.until("location.hash === '#main'").await;
    let outline = "const style = getComputedStyle(document.activeElement); \
        return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2";
    for expected in ["client", "track", "secret"] {
        browser.press("\u{e004}").await;
        assert_eq!(browser.run("return document.activeElement.id").await, expected);
        assert_eq!(browser.run(outline).await, true, "{expected}");
        if expected == "client" {
            browser.press("keyboard").await;
        }
    }
    browser.press("\u{e004}").await;
    browser.press(" ").await;
    browser.press("\u{e004}").await;
    browser.press(" ").await;
    assert_eq!(
        browser.run("return document.querySelectorAll('[name=targets]:checked').length").await,
        2
    );
    browser.press("\u{e007}").await;
    browser.until("document.querySelector('#made')").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_has_its_landmarks_and_every_field_a_label() {
    let operator = Operator::start().await;
    let browser = &operator.browser;
    operator.ensure("shop").await;
    for page in PAGES {
        operator.go(page).await;
        let faults = browser.run(FAULTS).await;
        assert_eq!(faults, serde_json::json!([]), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_picture_in_the_documents_shows_this_page() {
    let operator = Operator::start().await;
    let browser = &operator.browser;
    for client in ["billing-ui", "invoices", "shop", "till"] {
        operator.ensure(client).await;
    }
    operator.refuse_queue("legacy").await;
    for (client, target) in [("invoices", "legacy"), ("shop", "warehouse")] {
        operator.add_target(target).await;
        operator.go("/page/new").await;
        browser.fill("#client", client).await;
        browser.fill("#secret", "a secret by hand").await;
        browser.click(&format!("[name=targets][value={target}]")).await;
        browser.follow("form.card button.main").await;
    }
    operator.go("/").await;
    operator.cell("shop", "warehouse", "sent").await;
    operator.cell("shop", "orders", "ok").await;
    operator.cell("invoices", "legacy", "retry").await;
    operator.cell("invoices", "billing", "ok").await;
    operator.cell("till", "billing", "ok").await;
    browser.until("document.querySelector('#live.on')").await;
    browser.screen(1180, 600, false).await;
    let picture = browser.screenshot().await;
    assert!(picture.starts_with(b"\x89PNG"));
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/page.png");
    if std::env::var_os(WANTED).is_some() {
        std::fs::write(&kept, &picture).unwrap();
    }
    let kept = std::fs::read(&kept).expect("docs/page.png: set HMAC_SCREENSHOTS to make it");
    assert!(kept.starts_with(b"\x89PNG") && kept.len() > 10_000);
}

/// Keeps a screenshot for whoever works on the design.
fn keep(picture: Vec<u8>, name: &str) {
    if let Some(folder) = std::env::var_os(WANTED) {
        std::fs::write(PathBuf::from(folder).join(format!("{name}.png")), picture).unwrap();
    }
}

/// The least contrast of a text with what is behind it, by the formula of WCAG 2.
const CONTRAST: &str = r"
    const light = (colour) => {
        const [r, g, b] = colour.match(/[\d.]+/g).map(Number).map((part) => {
            part /= 255;
            return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (!colour.startsWith('rgba(') || !colour.endsWith(' 0)')) return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    let worst = { ratio: 21 };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
        const [one, two] = [light(getComputedStyle(element).color), light(behind(element))];
        const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
        if (ratio < worst.ratio) worst = { ratio, text: walker.currentNode.textContent.trim() };
    }
    return worst;
";

/// What a screen reader would stumble over.
const FAULTS: &str = r"
    const faults = [];
    for (const landmark of ['header', 'nav', 'main', 'h1']) {
        if (!document.querySelector(landmark)) faults.push('no ' + landmark);
    }
    if (document.querySelectorAll('h1').length !== 1) faults.push('more than one h1');
    if (!document.documentElement.lang) faults.push('no language');
    for (const field of document.querySelectorAll('input:not([type=hidden]), select, textarea')) {
        if (!field.labels.length) faults.push('no label: ' + field.name);
    }
    for (const button of document.querySelectorAll('button, a')) {
        if (!button.textContent.trim()) faults.push('no name: ' + button.outerHTML);
    }
    const ids = Array.from(document.querySelectorAll('[id]'), (element) => element.id);
    for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push('twice: ' + id);
    for (const described of document.querySelectorAll('[aria-describedby], [aria-labelledby]')) {
        const id = described.getAttribute('aria-describedby') ?? described.getAttribute('aria-labelledby');
        if (!document.getElementById(id)) faults.push('nothing has the id ' + id);
    }
    return faults;
";
