//! What an operator says to a peer over HTTP.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::Result;

/// No answer takes longer, not even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A peer's HTTP side, and the token that opens it.
#[derive(Clone)]
pub struct Admin {
    http: Client,
    url: String,
    token: String,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// JSON as it is, anything else as a text.
    pub body: Value,
}

impl Answer {
    pub(crate) async fn read(response: Response) -> Result<Self> {
        let status = response.status().as_u16();
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Self { status, body })
    }

    /// A text of the body; empty when there is none of that name.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// Whether this is the status and the operation that were asked for.
    #[must_use]
    pub fn did(&self, status: u16, op: &str) -> bool {
        self.status == status && self.text("op") == op
    }
}

impl Admin {
    pub(crate) fn new(url: String, token: String) -> Result<Self> {
        Ok(Self { http: http()?, url, token })
    }

    /// A route, for whoever holds the token.
    ///
    /// # Errors
    /// When there is no answer; a refusal is one.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.ask(Method::GET, path, None).await
    }

    /// # Errors
    /// When there is no answer; a refusal is one.
    pub async fn post(&self, path: &str, body: Value) -> Result<Answer> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// # Errors
    /// When there is no answer; a refusal is one.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.ask(Method::DELETE, path, None).await
    }

    /// A route, for those without a token.
    ///
    /// # Errors
    /// When there is no answer; a refusal is one.
    pub async fn get_as_a_stranger(&self, path: &str) -> Result<Answer> {
        Answer::read(self.http.get(format!("{}{path}", self.url)).send().await?).await
    }

    /// Whether the peer says that it can do its work.
    pub async fn is_ready(&self) -> bool {
        self.get_as_a_stranger("/health/ready").await.is_ok_and(|answer| answer.status == 200)
    }

    /// Puts a peer into this one's directory.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn add_target(&self, queue: &str, secret: &str, signs: bool) -> Result<Answer> {
        let body = json!({
            "targetAmqpQueue": queue, "propagationSecret": secret, "receiveOnly": !signs,
        });
        self.post("/admin/targets", body).await
    }

    /// Creates a credential, or gives it another secret or further targets.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ensure(&self, client: &str, targets: &[&str]) -> Result<Answer> {
        self.post("/admin/ensure", json!({ "clientId": client, "targets": targets })).await
    }

    /// # Errors
    /// When there is no answer.
    pub async fn rotate(&self, client: &str) -> Result<Answer> {
        self.post("/admin/rotate", json!({ "clientId": client })).await
    }

    /// # Errors
    /// When there is no answer.
    pub async fn revoke(&self, client: &str) -> Result<Answer> {
        self.post("/admin/revoke", json!({ "clientId": client, "targets": [] })).await
    }

    /// # Errors
    /// When there is no answer.
    pub async fn sync(&self) -> Result<Answer> {
        self.post("/admin/sync", json!({})).await
    }

    /// The rows of a credential.
    ///
    /// # Errors
    /// When there is no answer, or no state in it.
    pub async fn rows(&self, client: &str) -> Result<Vec<Row>> {
        let state = self.get("/admin/state").await?;
        let pivots = state.body["pivots"].as_array().ok_or("the state has no pivots")?;
        let mine = pivots.iter().filter(|pivot| pivot["clientId"] == client);
        Ok(mine.map(Row::of).collect())
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer> {
        let request = self.http.request(method, format!("{}{path}", self.url));
        let mut request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        Answer::read(request.send().await?).await
    }
}

/// What a source knows of one target's copy of a credential.
#[derive(Clone, Debug)]
pub struct Row {
    /// The target.
    pub target: String,
    /// `pending`, `sent`, `success` or `error`.
    pub status: String,
    /// Of which version this is said.
    pub revision: u64,
    /// How often it was sent.
    pub attempts: u64,
    /// How the target proved it.
    pub proof: String,
}

impl Row {
    fn of(pivot: &Value) -> Self {
        let text = |name: &str| pivot[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| pivot[name].as_u64().unwrap_or_default();
        Self {
            target: text("targetAmqpQueue"),
            status: text("status"),
            revision: number("revision"),
            attempts: number("attemptCount"),
            proof: text("proof"),
        }
    }
}

pub(crate) fn http() -> Result<Client> {
    Ok(Client::builder().timeout(PATIENCE).no_proxy().build()?)
}
