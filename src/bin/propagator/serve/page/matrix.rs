//! Credentials by targets: who holds what.

use std::time::Duration;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use hmac_propagator::id::{ClientId, CredentialKey};
use hmac_propagator::management::RowStatus;
use hmac_propagator::management::sql::{
    CredentialInfo, OperatorError, SqlManagement, TargetInfo, TargetState,
};
use hmac_propagator::propagator::StoreState;

use super::access::Who;
use super::age::{Age, span};
use super::form::Form;
use super::show::{self, Shell};
use super::stores;
use crate::serve::app::App;
use crate::serve::clock::now_ms;

/// Credentials on a page.
const ROWS: u32 = 25;
/// Targets on a page.
const COLUMNS: usize = 12;
/// How long the peer may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Template)]
#[template(path = "index.html")]
struct IndexPage {
    shell: Shell,
    matrix: Matrix,
}

#[derive(Template)]
#[template(path = "matrix.html")]
struct MatrixPart {
    matrix: Matrix,
}

/// What the matrix shows.
pub(crate) struct Matrix {
    /// Where it is had again, as it is now.
    source: String,
    parts: Vec<Part>,
    columns: Vec<String>,
    rows: Vec<Row>,
    open: u64,
    failed: u64,
    targets: usize,
    previous_columns: Option<String>,
    next_columns: Option<String>,
    column_range: String,
    first: Option<String>,
    next: Option<String>,
}

/// A part that the peer needs.
struct Part {
    name: &'static str,
    up: bool,
}

struct Row {
    key: String,
    client: String,
    track: &'static str,
    link: String,
    deleted: bool,
    decided: Age,
    note: Option<String>,
    /// The worst of all its targets, also of those on other pages.
    standing: &'static str,
    cells: Vec<Cell>,
}

/// Where one target stands with one credential.
pub(crate) struct Cell {
    pub(crate) target: String,
    /// For the style: `ok`, `wait`, `sent`, `retry`, `fail`, `none`.
    pub(crate) kind: &'static str,
    pub(crate) word: &'static str,
    pub(crate) age: Option<Age>,
    pub(crate) reason: Option<String>,
}

/// `GET /`
pub(crate) async fn index(
    State(app): State<App>,
    visitor: Who,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(management) = &app.parts.management else {
        return stores::show(State(app), visitor, RawQuery(query)).await;
    };
    match load(&app, management, query).await {
        Ok(matrix) => {
            show::html(&IndexPage { shell: Shell::new(&app, visitor.0, "credentials"), matrix })
        }
        Err(error) => super::refused(error),
    }
}

/// The matrix alone, for the script that keeps it up to date.
pub(crate) async fn part(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    let Some(management) = &app.parts.management else { return super::receive_only() };
    match load(&app, management, query).await {
        Ok(matrix) => show::html(&MatrixPart { matrix }),
        Err(error) => super::refused(error),
    }
}

async fn load(
    app: &App,
    management: &SqlManagement,
    query: Option<String>,
) -> Result<Matrix, OperatorError> {
    let wanted = Form::read(query.unwrap_or_default().as_bytes());
    let after = wanted.text("track").and(wanted.credential().ok());
    let start = wanted.optional("column", "a number").ok().flatten().unwrap_or(0);
    let (directory, credentials, status) = tokio::join!(
        management.targets(),
        management.credentials(after.as_ref(), ROWS + 1),
        tokio::time::timeout(PATIENCE, app.propagator.status()),
    );
    let (directory, credentials) = (directory?, credentials?);
    let status = status.ok();
    let up = |of: fn(&hmac_propagator::propagator::Status) -> bool| status.as_ref().is_some_and(of);
    let parts = vec![
        Part { name: "Broker", up: up(|s| s.publisher.is_up() && s.consumer.is_up()) },
        Part { name: "Redis", up: up(|s| s.store == StoreState::Up) },
        Part { name: "Database", up: true },
    ];
    Ok(Matrix::new(parts, &directory, &credentials, after.as_ref(), start, now_ms()))
}

impl Matrix {
    fn new(
        parts: Vec<Part>,
        directory: &[TargetInfo],
        credentials: &[CredentialInfo],
        after: Option<&CredentialKey>,
        start: usize,
        now_ms: u64,
    ) -> Self {
        // A page beyond the end shows the last targets instead of none.
        let start = start.min(directory.len().saturating_sub(1)) / COLUMNS * COLUMNS;
        let shown: Vec<&TargetInfo> = directory.iter().skip(start).take(COLUMNS).collect();
        let end = start + shown.len();
        let columns: Vec<String> =
            shown.iter().map(|target| target.queue.as_str().to_owned()).collect();
        let page = usize::try_from(ROWS).unwrap_or(usize::MAX);
        let rows: Vec<Row> = credentials
            .iter()
            .take(page)
            .map(|credential| Row::new(credential, &columns, now_ms))
            .collect();
        let more = credentials.len() > page;
        let last = credentials[..credentials.len().min(page)].last().map(|last| &last.key);
        Self {
            source: format!("/page/matrix{}", place(after, start)),
            parts,
            open: directory.iter().map(|target| target.open).sum(),
            failed: directory.iter().map(|target| target.failed).sum(),
            targets: directory.len(),
            previous_columns: (start > 0).then(|| format!("/{}", place(after, start - COLUMNS))),
            next_columns: (end < directory.len()).then(|| format!("/{}", place(after, end))),
            column_range: format!("{}–{end} of {}", start + 1, directory.len()),
            first: after.map(|_| format!("/{}", place(None, start))),
            next: last.filter(|_| more).map(|key| format!("/{}", place(Some(key), start))),
            columns,
            rows,
        }
    }

    /// Whether the targets do not fit on a page.
    fn pages_columns(&self) -> bool {
        self.previous_columns.is_some() || self.next_columns.is_some()
    }

    fn all_up(&self) -> bool {
        self.parts.iter().all(|part| part.up)
    }
}

/// The query of a page.
fn place(after: Option<&CredentialKey>, column: usize) -> String {
    let column = column.to_string();
    match after {
        Some(key) => show::query(&[
            ("track", key.track.as_str()),
            ("client", key.client_id.as_str()),
            ("column", &column),
        ]),
        None => show::query(&[("column", &column)]),
    }
}

/// The page of one credential.
pub(crate) fn link(track: &str, client: &ClientId) -> String {
    let query = show::query(&[("track", track), ("client", client.as_str())]);
    format!("/page/credential{query}")
}

impl Row {
    fn new(credential: &CredentialInfo, columns: &[String], now_ms: u64) -> Self {
        let CredentialInfo { key, targets, .. } = credential;
        let cells = columns.iter().map(|column| {
            let target = targets.iter().find(|target| target.target.as_str() == column);
            match target {
                Some(target) => Cell::of(target, credential, now_ms),
                None => Cell::none(column),
            }
        });
        Self {
            key: key.to_string(),
            client: key.client_id.to_string(),
            track: key.track.as_str(),
            link: link(key.track.as_str(), &key.client_id),
            deleted: credential.deleted,
            decided: Age::of(credential.updated_at_ms, now_ms),
            note: note(credential, now_ms),
            standing: standing(targets),
            cells: cells.collect(),
        }
    }
}

impl Cell {
    pub(crate) fn of(target: &TargetState, credential: &CredentialInfo, now_ms: u64) -> Self {
        let deleted = credential.deleted;
        let age = |at: Option<u64>| at.map(|at| Age::of(at, now_ms));
        let kind = kind(target);
        let (word, age) = match kind {
            "ok" => (if deleted { "removed" } else { "holds it" }, age(target.settled_at_ms)),
            "sent" => ("sent, no answer", age(target.sent_at_ms)),
            "retry" => ("fails, retrying", age(Some(target.revision.get()))),
            "fail" => ("failed", age(target.settled_at_ms)),
            _ => ("to be sent", age(Some(target.revision.get()))),
        };
        let reason = target.last_error.clone().filter(|_| matches!(kind, "retry" | "fail"));
        Self { target: target.target.to_string(), kind, word, age, reason }
    }

    fn none(target: &str) -> Self {
        Self { target: target.to_owned(), kind: "none", word: "no target", age: None, reason: None }
    }

    pub(crate) fn mark(&self) -> &'static str {
        match self.kind {
            "ok" => "✓",
            "sent" => "→",
            "retry" => "↻",
            "fail" => "✗",
            "wait" => "…",
            _ => "–",
        }
    }
}

pub(crate) fn kind(target: &TargetState) -> &'static str {
    match target.status {
        RowStatus::Success => "ok",
        RowStatus::Sent => "sent",
        RowStatus::Error if target.retry_at_ms.is_some() => "retry",
        RowStatus::Error => "fail",
        _ => "wait",
    }
}

fn standing(targets: &[TargetState]) -> &'static str {
    let worst = ["fail", "retry", "sent", "wait"];
    worst.into_iter().find(|kind| targets.iter().any(|t| self::kind(t) == *kind)).unwrap_or("ok")
}

/// What an operator should know beside the targets.
fn note(credential: &CredentialInfo, now_ms: u64) -> Option<String> {
    if credential.deleted {
        return None;
    }
    match (credential.expires_at_ms, credential.next_rotation_at_ms) {
        (Some(at), _) if at <= now_ms => Some(format!("expired {} ago", span(now_ms - at))),
        (_, Some(at)) if at <= now_ms => Some(format!("rotation due for {}", span(now_ms - at))),
        (Some(at), _) => Some(format!("expires {}", Age::of(at, now_ms).text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_elsewhere_is_text_and_never_markup() {
        const HOSTILE: &str = "\"'><script>x</script>&";
        let age = Age::of(0, 1);
        let cell = Cell {
            target: HOSTILE.to_owned(),
            kind: "fail",
            word: "failed",
            age: Some(age.clone()),
            reason: Some(HOSTILE.to_owned()),
        };
        let row = Row {
            key: HOSTILE.to_owned(),
            client: HOSTILE.to_owned(),
            track: "http",
            link: link("http", &ClientId::new(HOSTILE).unwrap()),
            deleted: false,
            decided: age,
            note: None,
            standing: "fail",
            cells: vec![cell],
        };
        let mut matrix = Matrix::new(Vec::new(), &[], &[], None, 0, 0);
        matrix.columns.push(HOSTILE.to_owned());
        matrix.rows.push(row);
        let text = MatrixPart { matrix }.render().unwrap();
        assert!(!text.contains("<script>") && !text.contains(HOSTILE), "{text}");
        assert_eq!(text.matches("&#60;script&#62;x&#60;/script&#62;&#38;").count(), 5, "{text}");
    }
}
