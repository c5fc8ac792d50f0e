//! The directory of targets.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use hmac_propagator::id::PeerQueue;
use hmac_propagator::management::sql::{NewTarget, OperatorError, TargetChange};
use hmac_propagator::secret::PropagationSecret;

use super::access::{Filled, Who};
use super::age::Age;
use super::form::Form;
use super::show::{self, Shell};
use super::{Outcome, done, invalid, receive_only, refused};
use crate::serve::app::App;
use crate::serve::clock::now_ms;
use crate::serve::events::Told;

#[derive(Template)]
#[template(path = "targets.html")]
struct TargetsPage {
    shell: Shell,
    targets: Vec<Row>,
}

struct Row {
    name: String,
    receive_only: bool,
    note: String,
    credentials: u64,
    open: u64,
    failed: u64,
    since: Age,
}

/// `GET /page/targets`
pub(crate) async fn list(State(app): State<App>, visitor: Who) -> Response {
    let Some(management) = &app.parts.management else { return receive_only() };
    let targets = match management.targets().await {
        Ok(targets) => targets,
        Err(error) => return refused(error),
    };
    let now_ms = now_ms();
    let rows = targets.into_iter().map(|target| Row {
        name: target.queue.to_string(),
        receive_only: target.receive_only,
        note: target.note.unwrap_or_default(),
        credentials: target.credentials,
        open: target.open,
        failed: target.failed,
        since: Age::of(target.created_at_ms, now_ms),
    });
    let shell = Shell::new(&app, visitor.0, "targets");
    show::html(&TargetsPage { shell, targets: rows.collect() })
}

/// `POST /page/targets/add`: a new peer, or another secret of one that is there.
pub(crate) async fn add(State(app): State<App>, filled: Filled) -> Response {
    let Some(management) = &app.parts.management else { return receive_only() };
    let (queue, new, change) = match asked(&filled.form) {
        Ok(asked) => asked,
        Err(message) => return invalid(&message),
    };
    let added = match management.add_target(new).await {
        Err(OperatorError::TargetExists(_)) => {
            management.change_target(&queue, change).await.map(|()| "was changed")
        }
        added => added.map(|()| "is a target now"),
    };
    match added {
        Ok(what) => {
            app.feed.tell(&Told::directory_changed(&queue));
            // Rows that could not be sent for want of a usable secret may go out now.
            app.syncs.soon();
            done(&app, filled.visitor, format!("{queue} {what}."), "/page/targets")
        }
        Err(error) => refused(error),
    }
}

/// `POST /page/targets/drop`
pub(crate) async fn drop(State(app): State<App>, filled: Filled) -> Response {
    let Some(management) = &app.parts.management else { return receive_only() };
    let queue: PeerQueue = match filled.form.required("target", "the name of a peer") {
        Ok(queue) => queue,
        Err(message) => return invalid(&message),
    };
    match management.drop_target(&queue).await {
        Ok(()) => {
            app.feed.tell(&Told::directory_changed(&queue));
            done(&app, filled.visitor, format!("{queue} was dropped."), "/page/targets")
        }
        Err(error) => refused(error),
    }
}

/// What to add, or what to change where it is there: that keeps what the form leaves empty.
fn asked(form: &Form) -> Outcome<(PeerQueue, NewTarget, TargetChange)> {
    let queue: PeerQueue = form.required("target", "1 to 200 ASCII letters, digits or hyphens")?;
    let secret = form.exact("propagationSecret").unwrap_or_default();
    let secret = PropagationSecret::new(secret).map_err(|error| error.to_string())?;
    let mut new = NewTarget::new(queue.clone(), secret.clone());
    let mut change = TargetChange::default().secret(secret);
    if let Some(note) = form.text("note") {
        if note.chars().count() > 1000 {
            return Err("note: expected at most 1000 characters".to_owned());
        }
        new = new.note(note);
        change = change.note(note);
    }
    match (form.ticked("receiveOnly"), form.ticked("signs")) {
        (true, true) => return Err("receiveOnly, signs: expected one of them".to_owned()),
        (true, false) => {
            new = new.receive_only();
            change = change.receive_only(true);
        }
        (false, true) => change = change.receive_only(false),
        (false, false) => {}
    }
    Ok((queue, new, change))
}
