//! One credential: where it stands at each target, and what can be done about it.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use hmac_propagator::credentials::{GeneratedSecret, SecretLength};
use hmac_propagator::id::{CredentialKey, PeerQueue};
use hmac_propagator::management::Proof;
use hmac_propagator::management::sql::{AuditQuery, CredentialInfo, RotationPolicy, TargetInfo};
use hmac_propagator::propagator::{Ensure, EnsureOp, Revoke, Rotate};
use hmac_propagator::secret::ClientSecret;
use hmac_propagator::store::{AllowedIps, Expiry};

use super::access::{Filled, Who};
use super::age::{Age, span};
use super::audit::Entry;
use super::form::Form;
use super::matrix::{self, Cell};
use super::show::{self, Shell};
use super::{Outcome, done, invalid, receive_only, refused};
use crate::serve::app::App;
use crate::serve::clock::now_ms;
use crate::serve::events::Told;

/// Entries of the audit that are shown with a credential.
const ENTRIES: u32 = 15;
/// Longest secret in bytes, as in the API.
const SECRET: usize = 4096;
/// More targets are typed rather than ticked.
const BOXES: usize = 60;

#[derive(Template)]
#[template(path = "credential.html")]
struct CredentialPage {
    shell: Shell,
    client: String,
    track: &'static str,
    deleted: bool,
    revision: u64,
    created: Age,
    decided: Age,
    expires: Option<Age>,
    rotation: Option<String>,
    allowed_ips: Vec<String>,
    rows: Vec<Row>,
    entries: Vec<Entry>,
}

struct Row {
    cell: Cell,
    attempts: u64,
    proof: &'static str,
    retry: Option<Age>,
}

#[derive(Template)]
#[template(path = "new.html")]
struct NewPage {
    shell: Shell,
    targets: Vec<String>,
    typed: bool,
}

#[derive(Template)]
#[template(path = "secret.html")]
struct SecretPage {
    shell: Shell,
    client: String,
    link: String,
    what: &'static str,
    secret: ClientSecret,
}

/// `GET /page/credential?track=…&client=…`
pub(crate) async fn one(
    State(app): State<App>,
    visitor: Who,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(management) = &app.parts.management else { return receive_only() };
    let key = match Form::read(query.unwrap_or_default().as_bytes()).credential() {
        Ok(key) => key,
        Err(message) => return invalid(&message),
    };
    let found = management.credential(&key).await;
    let entries = management.audit(&AuditQuery::newest(ENTRIES).of(key)).await;
    match (found, entries) {
        (Ok(Some(found)), Ok(entries)) => {
            let entries = entries.into_iter().map(|entry| Entry::new(entry, now_ms())).collect();
            let shell = Shell::new(&app, visitor.0, "credentials");
            show::html(&CredentialPage::new(shell, &found, entries, now_ms()))
        }
        (Ok(None), _) => show::problem(StatusCode::NOT_FOUND, "There never was this credential."),
        (Err(error), _) => refused(error),
        (_, Err(error)) => refused(error),
    }
}

/// `GET /page/new`
pub(crate) async fn new(State(app): State<App>, visitor: Who) -> Response {
    let Some(management) = &app.parts.management else { return receive_only() };
    match management.targets().await {
        Ok(targets) => {
            let typed = targets.len() > BOXES;
            let name = |target: &TargetInfo| target.queue.to_string();
            let targets = if typed { Vec::new() } else { targets.iter().map(name).collect() };
            show::html(&NewPage { shell: Shell::new(&app, visitor.0, "new"), targets, typed })
        }
        Err(error) => refused(error),
    }
}

/// `POST /page/ensure`
pub(crate) async fn ensure(State(app): State<App>, filled: Filled) -> Response {
    let Some(management) = &app.parts.management else { return receive_only() };
    let (key, request, secret, policy) = match asked(&filled.form) {
        Ok(asked) => asked,
        Err(message) => return invalid(&message),
    };
    let ensured = match app.propagator.ensure(request).await {
        Ok(ensured) => ensured,
        Err(error) => return refused(error),
    };
    app.syncs.soon();
    if let Some(policy) = policy
        && let Err(error) = management.set_rotation_policy(&key, Some(policy)).await
    {
        return refused(error);
    }
    let what = match ensured.op {
        EnsureOp::Create => "was created",
        EnsureOp::Update => "has a new secret",
    };
    answer(&app, &filled, &key, what, secret)
}

/// `POST /page/rotate`
pub(crate) async fn rotate(State(app): State<App>, filled: Filled) -> Response {
    let asked = filled.form.credential().and_then(|key| Ok((key, secret(&filled.form)?)));
    let (key, (plain, generated)) = match asked {
        Ok(asked) => asked,
        Err(message) => return invalid(&message),
    };
    let request = Rotate::new(key.client_id.clone(), plain).track(key.track);
    if let Err(error) = app.propagator.rotate(request).await {
        return refused(error);
    }
    app.syncs.soon();
    answer(&app, &filled, &key, "has a new secret", generated)
}

/// `POST /page/revoke`
pub(crate) async fn revoke(State(app): State<App>, filled: Filled) -> Response {
    let key = match filled.form.credential() {
        Ok(key) => key,
        Err(message) => return invalid(&message),
    };
    if !filled.form.ticked("confirm") {
        return invalid("confirm: tick the box to revoke it");
    }
    let request = Revoke::new(key.client_id.clone()).track(key.track);
    if let Err(error) = app.propagator.revoke(request).await {
        return refused(error);
    }
    app.syncs.soon();
    done(&app, filled.visitor, format!("{} is revoked.", key.client_id), &page_of(&key))
}

/// `POST /page/retry`
pub(crate) async fn retry(State(app): State<App>, filled: Filled) -> Response {
    let Some(management) = &app.parts.management else { return receive_only() };
    let asked = filled.form.credential().and_then(|key| {
        Ok((key, filled.form.required::<PeerQueue>("target", "the name of a peer")?))
    });
    let (key, target) = match asked {
        Ok(asked) => asked,
        Err(message) => return invalid(&message),
    };
    if let Err(error) = management.retry_target(&key, &target).await {
        return refused(error);
    }
    app.feed.tell(&Told::retried(&key, &target));
    app.syncs.soon();
    done(&app, filled.visitor, format!("{target} is tried again."), &page_of(&key))
}

/// `POST /page/sync`
pub(crate) async fn sync(State(app): State<App>, filled: Filled) -> Response {
    match app.propagator.sync().await {
        Ok(summary) => {
            let notice = format!(
                "Synced: {} open, {} sent, {} waiting, {} to be tried again.",
                summary.propagations_read,
                summary.targets_published,
                summary.targets_waiting,
                summary.targets_retrying
            );
            done(&app, filled.visitor, notice, "/")
        }
        Err(error) => refused(error),
    }
}

type Asked = (CredentialKey, Ensure, Option<ClientSecret>, Option<RotationPolicy>);

fn asked(form: &Form) -> Outcome<Asked> {
    let key = form.credential()?;
    let (plain, generated) = secret(form)?;
    let mut request =
        Ensure::new(key.client_id.clone(), plain).track(key.track).targets(form.targets()?);
    let rules: Vec<String> = form.words("allowedIps").map(str::to_owned).collect();
    if form.ticked("allowAll") {
        let all = AllowedIps::default();
        request = request.allowed_ips(all);
    } else if !rules.is_empty() {
        let rules = AllowedIps::parse(&rules).map_err(|error| error.to_string())?;
        request = request.allowed_ips(rules);
    }
    if let Some(at_ms) = form.time("expiresAt")? {
        request = request.expires_at(Expiry::At(at_ms));
    } else if form.ticked("neverExpires") {
        request = request.expires_at(Expiry::Never);
    }
    let days: Option<u16> = form.optional("rotateAfterDays", "days, 1 to 65535")?;
    if days == Some(0) {
        return Err("rotateAfterDays: expected days, 1 to 65535".to_owned());
    }
    Ok((key, request, generated, days.map(RotationPolicy::after_days)))
}

/// The secret that was typed, or one that is made now and then has to be shown.
fn secret(form: &Form) -> Outcome<(ClientSecret, Option<ClientSecret>)> {
    if let Some(typed) = form.exact("secret") {
        if typed.len() > SECRET {
            return Err("secret: expected at most 4096 bytes".to_owned());
        }
        let typed = ClientSecret::new(typed).map_err(|error| error.to_string())?;
        return Ok((typed, None));
    }
    let made = GeneratedSecret::generate(SecretLength::default());
    let made = made.map_err(|error| error.to_string())?.reveal();
    Ok((made.clone(), Some(made)))
}

/// A secret that was made is shown in this answer and never again; else the browser is sent on, so
/// that a reload does nothing twice.
fn answer(
    app: &App,
    filled: &Filled,
    key: &CredentialKey,
    what: &'static str,
    generated: Option<ClientSecret>,
) -> Response {
    let link = page_of(key);
    let Some(secret) = generated else {
        let notice = format!("{} {what}.", key.client_id);
        return done(app, filled.visitor, notice, &link);
    };
    let shell = Shell::new(app, filled.visitor, "");
    show::html(&SecretPage { shell, client: key.client_id.to_string(), link, what, secret })
}

fn page_of(key: &CredentialKey) -> String {
    matrix::link(key.track.as_str(), &key.client_id)
}

impl CredentialPage {
    fn new(shell: Shell, found: &CredentialInfo, entries: Vec<Entry>, now_ms: u64) -> Self {
        let age = |at_ms| Age::of(at_ms, now_ms);
        let rows = found.targets.iter().map(|target| Row {
            cell: Cell::of(target, found, now_ms),
            attempts: target.attempts,
            proof: match target.proof {
                Some(Proof::Signed) => "signed answer",
                Some(Proof::ReceiveOnly) => "unsigned answer",
                _ => "",
            },
            retry: target.retry_at_ms.filter(|at| *at > now_ms).map(age),
        });
        Self {
            shell,
            client: found.key.client_id.to_string(),
            track: found.key.track.as_str(),
            deleted: found.deleted,
            revision: found.revision.get(),
            created: age(found.created_at_ms),
            decided: age(found.updated_at_ms),
            expires: found.expires_at_ms.map(age),
            rotation: found.next_rotation_at_ms.map(|at_ms| match now_ms.checked_sub(at_ms) {
                Some(overdue) => format!("due for {}", span(overdue)),
                None => age(at_ms).text,
            }),
            allowed_ips: found.allowed_ips.clone().unwrap_or_default(),
            rows: rows.collect(),
            entries,
        }
    }
}
