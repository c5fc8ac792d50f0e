//! A real Chromium for tests of the page, and what the WebDriver protocol leaves to Chromium's own
//! commands: phone screens, the dark colour scheme, the browser's log.
#![allow(clippy::unwrap_used, clippy::panic, reason = "for tests: what fails here fails the test")]

use std::future::Future;
use std::time::Duration;

use hmac_propagator_support::{Chromedriver, eventually};
use serde_json::{Value, json};
use thirtyfour::{
    By, ChromiumLikeCapabilities, DesiredCapabilities, LoggingPrefsLogLevel, WebDriver, WebElement,
};

/// Longest wait for anything that should happen.
pub const SOON: Duration = Duration::from_secs(20);

/// A browser with one tab. Ends with the value.
pub struct Browser {
    client: WebDriver,
    _driver: Chromedriver,
}

impl Browser {
    /// Starts it, with the window of a desktop.
    pub async fn start() -> Self {
        let driver = Chromedriver::start().await.unwrap();
        let mut wanted = DesiredCapabilities::chrome();
        for argument in driver.browser_arguments() {
            wanted.add_arg(&argument).unwrap();
        }
        wanted.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
        let client = WebDriver::new(driver.url(), wanted).await.unwrap();
        let browser = Self { client, _driver: driver };
        browser.screen(1280, 900, false).await;
        browser
    }

    /// Shows the page at a URL.
    pub async fn go(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// The path and query of the page that is shown.
    pub async fn path(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        url.query().map_or(url.path().to_owned(), |query| format!("{}?{query}", url.path()))
    }

    /// The element that a CSS selector finds.
    #[track_caller]
    pub fn find(&self, css: &str) -> impl Future<Output = WebElement> {
        let caller = std::panic::Location::caller();
        let (client, css) = (self.client.clone(), css.to_owned());
        async move {
            let element = client.find(By::Css(&*css)).await;
            element.unwrap_or_else(|error| panic!("{caller}: {css}: {error}"))
        }
    }

    /// Types into a field.
    pub async fn fill(&self, css: &str, text: &str) {
        self.find(css).await.send_keys(text).await.unwrap();
    }

    /// Clicks on an element.
    pub async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap();
    }

    /// Clicks on what leads to another page, and waits for that page.
    pub async fn follow(&self, css: &str) {
        let before = self.find("html").await;
        self.click(css).await;
        eventually(SOON, || async {
            // The document before it does not answer any more once another one took its place.
            before.tag_name().await.err()?;
            let script = "return document.readyState === 'complete'";
            (self.client.execute(script, Vec::new()).await.ok()?.json() == true).then_some(())
        })
        .await;
    }

    /// What is written in an element, as it is seen.
    pub async fn text(&self, css: &str) -> String {
        self.find(css).await.text().await.unwrap()
    }

    /// Waits until a script says true.
    #[track_caller]
    pub fn until(&self, script: &str) -> impl Future<Output = ()> {
        let (client, script) = (self.client.clone(), format!("return Boolean({script})"));
        eventually(SOON, move || {
            let (client, script) = (client.clone(), script.clone());
            async move {
                (client.execute(&*script, Vec::new()).await.ok()?.json() == true).then_some(())
            }
        })
    }

    /// Runs a script; what it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// Presses keys where the focus is.
    pub async fn press(&self, keys: &str) {
        let element = self.client.active_element().await.unwrap();
        element.send_keys(keys).await.unwrap();
    }

    /// A screen of this size.
    pub async fn screen(&self, width: u32, height: u32, mobile: bool) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        self.chromium("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// The colour scheme that the user prefers: `light` or `dark`.
    pub async fn prefers(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.chromium("Emulation.setEmulatedMedia", features).await;
    }

    /// Whether scripts of pages run.
    pub async fn scripts(&self, run: bool) {
        self.chromium("Emulation.setScriptExecutionDisabled", json!({"value": !run})).await;
    }

    /// What the browser complained about since this was asked last.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.client.browser_log().await.unwrap();
        let serious =
            log.into_iter().filter(|entry| entry.level == "SEVERE" || entry.level == "WARNING");
        serious.map(|entry| entry.message).collect()
    }

    /// The screen as a PNG.
    pub async fn screenshot(&self) -> Vec<u8> {
        self.client.screenshot_as_png().await.unwrap()
    }

    /// Ends the browser.
    pub async fn close(self) {
        self.client.quit().await.unwrap();
    }

    async fn chromium(&self, command: &'static str, parameters: Value) {
        self.client.cdp().send_raw(command, parameters).await.unwrap();
    }
}
