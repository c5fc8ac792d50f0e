//! The life of a credential: create, use, rotate, revoke; and one that stays at home.

use std::time::Instant;

use serde_json::json;

use super::look::look;
use super::{Given, propagated, revision};
use crate::Result;
use crate::admin::Answer;
use crate::call::{known_as, refusal};
use crate::mesh::{ALL, AUTHORITY, BILLING, CONSUMER, COUNTER, Mesh, ORDERS, PEERS, TARGETS};
use crate::page::Page;

/// The client that the story is about.
const WEBSHOP: &str = "webshop";
/// One that only the authority is to know.
const CRON: &str = "nightly-job";
const NEW: &str = "the new secret";
const OLD: &str = "the old one";
const THE: &str = "its secret";

pub(super) async fn create(mesh: &Mesh, page: &mut Page, given: &mut Given) -> Result<()> {
    page.step("ensure, to three targets");
    let authority = mesh.admin(AUTHORITY)?;
    let started = Instant::now();
    let ensured = authority.ensure(WEBSHOP, &TARGETS).await?;
    page.did("the authority has decided", started.elapsed());
    given.take(mesh, WEBSHOP, &ensured)?;
    let all = propagated(mesh, WEBSHOP, revision(&ensured)?, &TARGETS).await;
    page.took(started.elapsed());
    page.did("every target has answered, from the decision on", started.elapsed());
    let caller = given.caller(WEBSHOP)?;
    let view = look(mesh, &PEERS, WEBSHOP, &[(THE, caller)]).await?;
    view.show(page);
    page.check("201 create, with the secret that was made", ensured.did(201, "create"));
    page.check("every row comes to be a success of this version", all);
    page.check("there is a row for each target", view.all_rows(revision(&ensured)?, &TARGETS));
    page.check("the same hash is in four Redis", view.hold(&PEERS, caller));
    let proof = |target: &str| view.row(target).map(|row| row.proof.as_str());
    page.check(
        "the full peers signed their answers; the receive-only one cannot, and its row says so",
        [ORDERS, BILLING].iter().all(|target| proof(target) == Some("signed"))
            && proof(CONSUMER) == Some("receive_only"),
    );
    page.check("who is no target has nothing", mesh.holds(COUNTER, WEBSHOP).await?.is_none());
    let state = authority.get("/admin/state").await?.body.to_string();
    let shown = [ensured.text("secret"), caller.hash().expose()];
    page.check("the state shows neither secret nor hash", shown.iter().all(|s| !state.contains(s)));
    let refused = mesh.admin(CONSUMER)?.ensure(WEBSHOP, &[]).await?;
    page.check(
        "the receive-only peer decides nothing: 409 MANAGEMENT_NOT_CONFIGURED",
        refused.status == 409 && refused.text("error") == "MANAGEMENT_NOT_CONFIGURED",
    );
    Ok(())
}

pub(super) async fn call(mesh: &Mesh, page: &mut Page, given: &Given) -> Result<()> {
    page.step("signed calls");
    let caller = given.caller(WEBSHOP)?;
    let stranger = mesh.caller(WEBSHOP, "a guess")?;
    let callers = [(THE, caller), ("a guess", &stranger)];
    let view = look(mesh, &PEERS, WEBSHOP, &callers).await?;
    view.show(page);
    page.check("every peer lets in who signs with the secret", view.let_in(&PEERS, THE));
    page.check(
        "a wrong secret is refused everywhere: BAD_SIGNATURE",
        view.refuse(&PEERS, "a guess", "BAD_SIGNATURE"),
    );
    let mut unsigned = true;
    for name in PEERS {
        unsigned &= mesh.admin(name)?.get_as_a_stranger("/api/echo").await?.status == 401;
    }
    page.check("so is a call without a signature: 401", unsigned);
    let (mut right, mut wrong) = (true, true);
    for name in PEERS {
        let with_own = call_target(mesh, name, None).await?;
        right &= with_own.status == 201 && known_as(&inner(&with_own)) == Some(WEBSHOP);
        let with_guess = call_target(mesh, name, Some("a guess")).await?;
        let refused = inner(&with_guess);
        wrong &= with_guess.status == 201
            && refused.status == 401
            && refusal(&refused) == Some("BAD_SIGNATURE");
    }
    page.check("the authority's own test calls are let in (/admin/call-target)", right);
    page.check("and refused when it is told a wrong secret", wrong);
    let elsewhere = json!({ "clientId": WEBSHOP, "target": "http://127.0.0.1:1" });
    let refused = mesh.admin(AUTHORITY)?.post("/admin/call-target", elsewhere).await?;
    page.check("it calls nobody who is not on its list: 403", refused.status == 403);
    Ok(())
}

pub(super) async fn rotate(mesh: &Mesh, page: &mut Page, given: &mut Given) -> Result<()> {
    page.step("rotate");
    let authority = mesh.admin(AUTHORITY)?;
    let started = Instant::now();
    let rotated = authority.rotate(WEBSHOP).await?;
    given.take(mesh, WEBSHOP, &rotated)?;
    let all = propagated(mesh, WEBSHOP, revision(&rotated)?, &TARGETS).await;
    page.took(started.elapsed());
    page.did("every target has answered, from the decision on", started.elapsed());
    let (new, old) = (given.caller(WEBSHOP)?, given.former_caller(WEBSHOP)?);
    let view = look(mesh, &PEERS, WEBSHOP, &[(NEW, new), (OLD, old)]).await?;
    view.show(page);
    page.check("201 rotate", rotated.did(201, "rotate"));
    page.check("every row comes to be a success of the new version", all);
    page.check("every peer holds the new hash", view.hold(&PEERS, new));
    page.check("every peer lets in who signs with the new secret", view.let_in(&PEERS, NEW));
    page.check(
        "the old one is refused: BAD_SIGNATURE",
        view.refuse(&[AUTHORITY, CONSUMER, ORDERS], OLD, "BAD_SIGNATURE"),
    );
    page.check(
        &format!("but not at `{BILLING}`, which is set to an overlap of ten minutes"),
        view.let_in(&[BILLING], OLD),
    );
    let unknown = authority.rotate("nobody").await?;
    page.check(
        "what does not exist is not rotated: 404 UNKNOWN_CLIENT",
        unknown.status == 404 && unknown.text("error") == "UNKNOWN_CLIENT",
    );
    Ok(())
}

pub(super) async fn revoke(mesh: &Mesh, page: &mut Page, given: &Given) -> Result<()> {
    page.step("revoke");
    let started = Instant::now();
    let revoked = mesh.admin(AUTHORITY)?.revoke(WEBSHOP).await?;
    let at_once = mesh.holds(AUTHORITY, WEBSHOP).await?.is_none();
    let all = propagated(mesh, WEBSHOP, revision(&revoked)?, &TARGETS).await;
    page.took(started.elapsed());
    page.did("every target has answered, from the decision on", started.elapsed());
    let (new, old) = (given.caller(WEBSHOP)?, given.former_caller(WEBSHOP)?);
    let view = look(mesh, &PEERS, WEBSHOP, &[(NEW, new), (OLD, old)]).await?;
    view.show(page);
    page.check("201 revoke", revoked.did(201, "revoke"));
    page.check("the authority itself holds nothing as soon as it has answered", at_once);
    page.check("every row comes to be a success of the removal", all);
    page.check("no peer holds anything", view.hold_nothing(&PEERS));
    let refused = |label| view.refuse(&PEERS, label, "UNKNOWN_CLIENT");
    page.check("both secrets are refused everywhere, overlap or not", refused(NEW) && refused(OLD));
    Ok(())
}

pub(super) async fn stay_local(mesh: &Mesh, page: &mut Page, given: &mut Given) -> Result<()> {
    page.step("ensure without targets");
    let authority = mesh.admin(AUTHORITY)?;
    let ensured = authority.ensure(CRON, &[]).await?;
    given.take(mesh, CRON, &ensured)?;
    let synced = authority.sync().await?;
    let caller = given.caller(CRON)?;
    let view = look(mesh, &ALL, CRON, &[(THE, caller)]).await?;
    view.show(page);
    let others: Vec<&str> = ALL.into_iter().filter(|name| *name != AUTHORITY).collect();
    page.check("201 create", ensured.did(201, "create"));
    page.check("a sync has nothing to publish", synced.body["targetsPublished"] == 0);
    page.check("it has no row", view.rows.is_empty());
    let home = view.hold(&[AUTHORITY], caller) && view.let_in(&[AUTHORITY], THE);
    page.check("the authority holds it and lets it in", home);
    let away = view.hold_nothing(&others) && view.refuse(&others, THE, "UNKNOWN_CLIENT");
    page.check("no other peer holds it or lets it in", away);
    Ok(())
}

/// A signed test call of the authority; without a secret with what its own store holds.
async fn call_target(mesh: &Mesh, name: &str, secret: Option<&str>) -> Result<Answer> {
    let body = json!({ "clientId": WEBSHOP, "target": mesh.url(name)?, "secret": secret });
    mesh.admin(AUTHORITY)?.post("/admin/call-target", body).await
}

/// What the called peer answered.
fn inner(called: &Answer) -> Answer {
    let status = called.body["status"].as_u64().and_then(|status| status.try_into().ok());
    Answer { status: status.unwrap_or_default(), body: called.body["body"].clone() }
}
