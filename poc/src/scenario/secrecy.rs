//! What must be nowhere.

use super::Given;
use crate::Result;
use crate::mesh::{AUTHORITY, CONSUMER, Mesh, ORDERS, SOON};
use crate::page::Page;
use crate::traces::{Place, Traces};
use crate::wait::within;

const KEPT: [Place; 3] = [Place::Redis, Place::Database, Place::Log];
const ANYWHERE: [Place; 4] = [Place::Redis, Place::Database, Place::Log, Place::Queue];
const LAST: &str = "left-in-a-queue";

/// With a message in a queue, so that there is one to look into.
pub(super) async fn search(mesh: &mut Mesh, page: &mut Page, given: &Given) -> Result<()> {
    page.step("search every Redis, queue, database and log");
    let authority = mesh.admin(AUTHORITY)?;
    mesh.stop_peer(CONSUMER).await?;
    let mut given_last = Given::default();
    let ensured = authority.ensure(LAST, &[CONSUMER]).await?;
    given_last.take(mesh, LAST, &ensured)?;
    let holds = || async { mesh.waiting(CONSUMER).await.is_ok_and(|waiting| waiting == 1) };
    page.check("a message waits in a queue meanwhile", within(SOON, holds).await);
    let traces = mesh.traces().await?;

    let everywhere = traces.find(LAST, &ANYWHERE);
    let expected =
        ["Redis of authority", "Database of authority", "Log of authority", "Queue of consumer"];
    let all = expected.iter().all(|place| everywhere.iter().any(|found| found == place));
    page.check("the search finds what is there: a client's name, in all four kinds of places", all);
    let file = traces.find(AUTHORITY, &[Place::Database]);
    page.check("also in a database file", file.contains(&format!("Database of {ORDERS}")));
    let clients = given.plain.iter().chain(&given_last.plain).map(String::as_str);
    page.check("no client's secret is anywhere", nowhere(page, &traces, clients, &ANYWHERE));
    let callers = given.callers.iter().chain(&given_last.callers);
    let hashes = callers.map(|(_, caller)| caller.hash().expose());
    page.check("no hash is in a log", nowhere(page, &traces, hashes, &[Place::Log]));
    let own = mesh.seats().iter().flat_map(|seat| {
        let secrets = &seat.secrets;
        [&secrets.propagation, &secrets.pepper, &secrets.admin_token, &secrets.database_key]
    });
    let password = mesh.broker_password();
    let own = own.map(String::as_str).chain([password.as_str()]);
    page.check("no peer's own secret is kept or logged", nowhere(page, &traces, own, &KEPT));
    mesh.start_peer(CONSUMER).await
}

/// Whether none is found; where one is, the page says so.
fn nowhere<'a>(
    page: &Page,
    traces: &Traces,
    secrets: impl Iterator<Item = &'a str>,
    among: &[Place],
) -> bool {
    let mut clean = 0;
    for secret in secrets {
        let found = traces.find(secret, among);
        if !found.is_empty() {
            page.note(&format!("found: {}", found.join(", ")));
            return false;
        }
        clean += 1;
    }
    // A search for nothing proves nothing.
    clean > 0
}
