//! What was done, and by whom.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use hmac_propagator::management::sql::{AuditEntry, AuditQuery};

use super::access::Who;
use super::age::Age;
use super::form::Form;
use super::show::{self, Shell};
use super::{receive_only, refused};
use crate::serve::app::App;
use crate::serve::clock::now_ms;

/// Entries on a page.
const ENTRIES: u32 = 50;

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    shell: Shell,
    entries: Vec<Entry>,
    newest: bool,
    older: Option<u64>,
}

/// An entry as it is shown.
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) when: Age,
    pub(crate) action: String,
    pub(crate) actor: String,
    /// The credential, with the page that shows it.
    pub(crate) credential: Option<(String, String)>,
    pub(crate) target: String,
    pub(crate) detail: String,
}

impl Entry {
    pub(crate) fn new(entry: AuditEntry, now_ms: u64) -> Self {
        let credential = entry.track.zip(entry.client_id).map(|(track, client)| {
            let query = show::query(&[("track", &track), ("client", &client)]);
            (format!("{track}:{client}"), format!("/page/credential{query}"))
        });
        Self {
            seq: entry.seq,
            when: Age::of(entry.at_ms, now_ms),
            action: entry.action.replace('_', " "),
            actor: entry.actor,
            credential,
            target: entry.target.unwrap_or_default(),
            detail: entry.detail.unwrap_or_default(),
        }
    }
}

/// `GET /page/audit`
pub(crate) async fn list(
    State(app): State<App>,
    visitor: Who,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(management) = &app.parts.management else { return receive_only() };
    let wanted = Form::read(query.unwrap_or_default().as_bytes());
    let before: Option<u64> = wanted.optional("before", "a number").ok().flatten();
    let newest = AuditQuery::newest(ENTRIES);
    let asked = match before {
        Some(seq) => newest.before(seq.min(i64::MAX.unsigned_abs())),
        None => newest,
    };
    match management.audit(&asked).await {
        Ok(entries) => {
            let older = entries.last().map(|entry| entry.seq).filter(|seq| *seq > 1);
            let now_ms = now_ms();
            let entries = entries.into_iter().map(|entry| Entry::new(entry, now_ms)).collect();
            let shell = Shell::new(&app, visitor.0, "audit");
            show::html(&AuditPage { shell, entries, newest: before.is_none(), older })
        }
        Err(error) => refused(error),
    }
}
