//! A target that is away, and comes back.

use std::time::Instant;

use super::look::look;
use super::{Given, propagated, revision};
use crate::Result;
use crate::mesh::{AUTHORITY, CONSUMER, Mesh, ORDERS, SOON, queue};
use crate::page::Page;
use crate::wait::within;

const MOBILE: &str = "mobile-app";
const THE: &str = "its secret";
const CONCERNED: [&str; 3] = [AUTHORITY, CONSUMER, ORDERS];
/// As many as cron would ask for in a while; the authority's own, every second, come on top.
const SYNCS: u32 = 20;

pub(super) async fn away_and_back(
    mesh: &mut Mesh,
    page: &mut Page,
    given: &mut Given,
) -> Result<()> {
    page.step(&format!("`{CONSUMER}` is stopped"));
    let authority = mesh.admin(AUTHORITY)?;
    let stopping = Instant::now();
    let status = mesh.stop_peer(CONSUMER).await?;
    page.did("it was told to stop (SIGTERM), and ended", stopping.elapsed());
    page.check("with exit code 0", status.success());
    let ensured = authority.ensure(MOBILE, &[CONSUMER, ORDERS]).await?;
    given.take(mesh, MOBILE, &ensured)?;
    let revision = revision(&ensured)?;
    let other = propagated(mesh, MOBILE, revision, &[ORDERS]).await;
    let holds = || async { mesh.waiting(CONSUMER).await.is_ok_and(|waiting| waiting == 1) };
    page.check("its queue holds the event", within(SOON, holds).await);
    let started = Instant::now();
    let mut published = 0;
    for _ in 0..SYNCS {
        published += authority.sync().await?.body["targetsPublished"].as_u64().unwrap_or(1);
    }
    page.did(&format!("{SYNCS} further syncs"), started.elapsed());
    let waiting = mesh.queues().peek(&queue(CONSUMER)).await?;
    let caller = given.caller(MOBILE)?;
    let view = look(mesh, &CONCERNED, MOBILE, &[(THE, caller)]).await?;
    view.show(page);
    page.check("they publish nothing, and the queue still holds one", {
        published == 0 && waiting.len() == 1
    });
    let event = waiting.iter().map(|body| String::from_utf8_lossy(body)).collect::<String>();
    let plain = given.plain.iter().any(|secret| event.contains(secret.as_str()));
    let hash = event.contains(caller.hash().expose());
    page.check("what waits is the hash, not the secret", hash && !plain);
    page.check("who is up has it and lets in", other && view.let_in(&[AUTHORITY, ORDERS], THE));
    let row = view.row(CONSUMER).is_some_and(|row| row.status == "sent" && row.attempts == 1);
    page.check("the row of who is away says `sent`, once", row);

    page.step(&format!("`{CONSUMER}` returns"));
    let starting = Instant::now();
    mesh.start_peer(CONSUMER).await?;
    let all = propagated(mesh, MOBILE, revision, &[CONSUMER, ORDERS]).await;
    page.took(starting.elapsed());
    page.did("it is ready, has applied what waited and has answered", starting.elapsed());
    let drained = || async { mesh.waiting(CONSUMER).await.is_ok_and(|waiting| waiting == 0) };
    let drained = within(SOON, drained).await;
    let caller = given.caller(MOBILE)?;
    let view = look(mesh, &CONCERNED, MOBILE, &[(THE, caller)]).await?;
    view.show(page);
    page.check("its queue is drained", drained);
    page.check("every row comes to be a success of the same version", all);
    let once = view.row(CONSUMER).is_some_and(|row| row.attempts == 1);
    // Nought: the answer was there before the row could say that the event was sent.
    let nothing_twice = view.rows.iter().all(|row| row.attempts <= 1);
    page.check("nothing was sent a second time", once && nothing_twice && view.rows.len() == 2);
    page.check("it holds the hash and lets in", {
        view.hold(&CONCERNED, caller) && view.let_in(&CONCERNED, THE)
    });
    Ok(())
}
