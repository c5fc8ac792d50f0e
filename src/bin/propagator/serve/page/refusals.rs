//! Messages that were refused.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use hmac_propagator::refused::{RefusedMessage, RefusedMessages};

use super::access::Who;
use super::age::Age;
use super::refused;
use super::show::{self, Shell};
use crate::serve::app::App;
use crate::serve::clock::now_ms;

#[derive(Template)]
#[template(path = "refused.html")]
struct RefusedPage {
    shell: Shell,
    rows: Vec<Row>,
}

/// A message as it is shown.
struct Row {
    number: u64,
    when: Age,
    reason: String,
    detail: String,
    sender: String,
    bytes: u64,
    sha256: String,
    message: String,
}

impl Row {
    fn new(refused: RefusedMessage, now_ms: u64) -> Self {
        Self {
            number: refused.number,
            when: Age::of(refused.at_ms, now_ms),
            reason: refused.reason.as_str().replace('_', " "),
            detail: refused.detail,
            sender: refused.sender.map_or_else(|| "unknown".into(), String::from),
            bytes: refused.bytes,
            sha256: refused.sha256.unwrap_or_default(),
            message: refused.message.unwrap_or_default(),
        }
    }
}

/// `GET /page/refused`
pub(crate) async fn list(State(app): State<App>, visitor: Who) -> Response {
    match app.propagator.refused_messages(RefusedMessages::KEPT).await {
        Ok(found) => {
            let now_ms = now_ms();
            let rows = found.into_iter().map(|message| Row::new(message, now_ms)).collect();
            show::html(&RefusedPage { shell: Shell::new(&app, visitor.0, "refused"), rows })
        }
        Err(error) => refused(error),
    }
}
