//! A signed test call.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use hmac_propagator::id::ClientId;
use hmac_propagator::secret::ClientSecret;
use serde_json::Value;

use super::Outcome;
use super::access::{Filled, Visitor, Who};
use super::form::Form;
use super::show::{self, Shell};
use crate::serve::admin;
use crate::serve::app::App;

#[derive(Template)]
#[template(path = "call.html")]
struct CallPage {
    shell: Shell,
    origins: Vec<String>,
    url: String,
    client: String,
    result: Option<Outcome<Answer>>,
}

struct Answer {
    status: u16,
    body: String,
}

/// `GET /page/call`
pub(crate) async fn ask(
    State(app): State<App>,
    visitor: Who,
    RawQuery(query): RawQuery,
) -> Response {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    page(&app, visitor.0, &form, None)
}

/// `POST /page/call`
pub(crate) async fn call(State(app): State<App>, filled: Filled) -> Response {
    let result = outcome(&app, &filled.form).await;
    page(&app, filled.visitor, &filled.form, Some(result))
}

fn page(app: &App, visitor: Visitor, form: &Form, result: Option<Outcome<Answer>>) -> Response {
    let origins = app.parts.config.http.call_target_origins.clone();
    let first = origins.first().map(|origin| format!("{origin}/api/echo"));
    show::html(&CallPage {
        shell: Shell::new(app, visitor, "call"),
        url: form.text("url").map(str::to_owned).or(first).unwrap_or_default(),
        client: form.exact("client").unwrap_or_default().to_owned(),
        origins,
        result,
    })
}

async fn outcome(app: &App, form: &Form) -> Outcome<Answer> {
    let client = ClientId::new(form.exact("client").unwrap_or_default());
    let client = client.map_err(|error| error.to_string())?;
    let secret = form.exact("secret").map(ClientSecret::new).transpose();
    let secret = secret.map_err(|error| error.to_string())?;
    let url = form.text("url").unwrap_or_default();
    let (status, body) = admin::signed_get(app, url, client, secret)
        .await
        .map_err(|problem| problem.message().to_owned())?;
    let body = match body {
        Value::String(text) => text,
        json => serde_json::to_string_pretty(&json).unwrap_or_default(),
    };
    Ok(Answer { status, body })
}
