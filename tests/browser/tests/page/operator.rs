//! An operator in front of a browser, and the mesh behind it.

use std::path::PathBuf;

use hmac_propagator_browser::Browser;
use hmac_propagator_support::lapin::types::FieldTable;
use hmac_propagator_support::{Broker, Queues, Serve, Vhost, free_address};

pub(crate) const TOKEN: &str = "admin-token-of-the-operator";

/// `authority` decides; `orders` and `billing` take part. Its page knows the stores of all three.
pub(crate) struct Operator {
    pub(crate) browser: Browser,
    pub(crate) authority: Serve,
    pub(crate) orders: Serve,
    pub(crate) billing: Serve,
    pub(crate) vhost: Vhost,
    _broker: Broker,
}

impl Operator {
    /// Signed in, with both targets in the directory.
    pub(crate) async fn start() -> Self {
        let operator = Self::at_the_door().await;
        operator.sign_in().await;
        for name in ["orders", "billing"] {
            operator.add_target(name).await;
        }
        operator
    }

    /// Not signed in, with an empty directory.
    pub(crate) async fn at_the_door() -> Self {
        let broker = Broker::start().await.unwrap();
        let vhost = broker.vhost().await.unwrap();
        let (orders, billing) =
            tokio::join!(peer(&vhost, "orders", false, &[]), peer(&vhost, "billing", false, &[]));
        let peers = format!("orders={},billing={}", orders.redis().url(), billing.redis().url());
        // It calls itself, so its port has to be known before it starts.
        let port = free_address().unwrap().port();
        let environment = [
            ("ADMIN_TOKEN", TOKEN.to_owned()),
            ("PEERS", peers),
            ("PORT", port.to_string()),
            ("CALL_TARGET_ORIGINS", format!("http://127.0.0.1:{port}")),
        ];
        let authority = peer(&vhost, "authority", true, &environment).await;
        let browser = Browser::start().await;
        Self { browser, authority, orders, billing, vhost, _broker: broker }
    }

    pub(crate) async fn sign_in(&self) {
        self.go("/").await;
        assert_eq!(self.browser.path().await, "/page/login");
        self.browser.fill("#token", TOKEN).await;
        self.browser.follow("button.main").await;
        assert_eq!(self.browser.path().await, "/");
    }

    pub(crate) async fn go(&self, path: &str) {
        self.browser.go(&self.authority.url(path)).await;
    }

    pub(crate) async fn add_target(&self, name: &str) {
        self.go("/page/targets").await;
        self.browser.fill("#target", name).await;
        self.browser.fill("#propagationSecret", &Serve::propagation_secret(name)).await;
        self.browser.click("[name=receiveOnly]").await;
        self.browser.follow("form.card button.main").await;
        assert_eq!(self.notice().await, format!("{name} is a target now."));
    }

    /// Makes the queue of a peer one that the contract does not allow: no delivery to it succeeds.
    pub(crate) async fn refuse_queue(&self, name: &str) -> Queues {
        let queues = self.vhost.queues().await.unwrap();
        let mut other = FieldTable::default();
        other.insert("x-max-length".into(), 1_i32.into());
        queues.declare_with(&format!("hmac-{name}.queue"), other).await.unwrap();
        queues
    }

    /// Ensures a credential at both targets, and gives back the secret that was made.
    pub(crate) async fn ensure(&self, client: &str) -> String {
        self.go("/page/new").await;
        self.browser.fill("#client", client).await;
        for name in ["orders", "billing"] {
            self.browser.click(&format!("[name=targets][value={name}]")).await;
        }
        self.browser.follow("form.card button.main").await;
        self.browser.text("#made").await
    }

    /// What the page says was done.
    pub(crate) async fn notice(&self) -> String {
        self.browser.text(".notices p").await
    }

    /// Waits until a cell of the matrix shows a state.
    pub(crate) async fn cell(&self, client: &str, target: &str, kind: &str) {
        let key = format!("http:{client}");
        self.browser
            .until(&format!(
                "Array.from(document.querySelectorAll('#matrix tbody tr')).some(row => \
                row.dataset.key === '{key}' && \
                row.querySelector('td.{kind}[data-target=\"{target}\"]'))"
            ))
            .await;
    }
}

pub(crate) async fn peer(
    vhost: &Vhost,
    name: &str,
    decides: bool,
    environment: &[(&'static str, String)],
) -> Serve {
    Serve::start(&binary(), vhost, name, decides, environment).await.unwrap()
}

/// The command, as it was built with the tests: cargo puts it two folders above them.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().unwrap().parent().unwrap().join("propagator");
    let how = "cargo build --locked --workspace --all-features --bins";
    assert!(binary.is_file(), "{} is not there: {how}", binary.display());
    binary
}
