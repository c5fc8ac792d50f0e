//! A target comes and goes.

use std::time::Instant;

use super::look::look;
use super::{Given, is_gone, propagated, revision};
use crate::Result;
use crate::mesh::{AUTHORITY, COUNTER, Mesh, SOON};
use crate::page::Page;
use crate::wait::within;

const PARTNER: &str = "partner";
const THE: &str = "its secret";

pub(super) async fn add_and_drop(mesh: &Mesh, page: &mut Page, given: &mut Given) -> Result<()> {
    page.step(&format!("add the service `{COUNTER}` as a target, and drop it"));
    let authority = mesh.admin(AUTHORITY)?;
    let early = authority.ensure(PARTNER, &[COUNTER]).await?;
    page.check("who is in no directory cannot be a target: 422", early.status == 422);
    let added = mesh.introduce(AUTHORITY, COUNTER).await?;
    page.check("201 target.create", added.did(201, "target.create"));
    let started = Instant::now();
    let ensured = authority.ensure(PARTNER, &[COUNTER]).await?;
    given.take(mesh, PARTNER, &ensured)?;
    let all = propagated(mesh, PARTNER, revision(&ensured)?, &[COUNTER]).await;
    page.took(started.elapsed());
    page.did("the service has answered, from the decision on", started.elapsed());
    let caller = given.caller(PARTNER)?;
    let stranger = mesh.caller(PARTNER, "a guess")?;
    let callers = [(THE, caller), ("a guess", &stranger)];
    let view = look(mesh, &[AUTHORITY, COUNTER], PARTNER, &callers).await?;
    view.show(page);
    page.check("the row comes to be a success", all);
    let signed = view.row(COUNTER).is_some_and(|row| row.proof == "signed");
    page.check("the service signed its answer", signed);
    page.check("its Redis holds the hash", view.hold(&[COUNTER], caller));
    page.check("its own route lets in who signs rightly", view.let_in(&[COUNTER], THE));
    page.check(
        "and nobody else: BAD_SIGNATURE",
        view.refuse(&[COUNTER], "a guess", "BAD_SIGNATURE"),
    );
    let counted = caller.get(&mesh.signed_route(COUNTER)?).await?;
    page.check("it has counted the calls that it let in", counted.body["calls"] == 2);

    let drop = format!("/admin/targets/{COUNTER}");
    let in_use = authority.delete(&drop).await?;
    page.check("who is in use is not dropped: 409", in_use.status == 409);
    let revoked = authority.revoke(PARTNER).await?;
    let all = propagated(mesh, PARTNER, revision(&revoked)?, &[COUNTER]).await;
    let gone = within(SOON, || async { is_gone(mesh, PARTNER).await == Ok(true) }).await;
    page.check("revoked, it is gone at the service too", all && gone);
    let dropped = authority.delete(&drop).await?;
    page.check("then it is dropped: 200 target.delete", dropped.did(200, "target.delete"));
    page.check("once: 404", authority.delete(&drop).await?.status == 404);
    Ok(())
}

pub(super) async fn refuse(mesh: &Mesh, page: &mut Page) -> Result<()> {
    page.step("a peer cannot drop itself");
    let authority = mesh.admin(AUTHORITY)?;
    let own = authority.delete(&format!("/admin/targets/{AUTHORITY}")).await?;
    page.check("the own queue is refused: 400", own.status == 400);
    page.check("nor can it be its own target: 422", {
        mesh.introduce(AUTHORITY, AUTHORITY).await?.status == 422
    });
    Ok(())
}
