//! The main job, step by step. Knows what is done and what must hold then, not how peers run.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::Result;
use crate::call::Call;
use crate::mesh::{ARCHIVE, AUTHORITY, BILLING, Mesh, ORDERS, TARGETS, random};
use crate::page::Page;
use crate::peer::RowReport;
use crate::store::Held;

const CLIENT: &str = "webshop";
const ALL: [&str; 4] = [AUTHORITY, ORDERS, BILLING, ARCHIVE];

/// Longest wait for what should happen at once.
const SOON: Duration = Duration::from_secs(20);

/// Shows and checks everything. An error means that a step could not be carried out at all.
pub(crate) async fn run(mesh: &mut Mesh, page: &mut Page) -> Result<()> {
    introduce(mesh, page);
    let client = Client::new(mesh)?;
    create(mesh, page, &client).await?;
    let revision = rotate_while_down(mesh, page, &client).await?;
    come_back(mesh, page, &client, revision).await?;
    revoke(mesh, page, &client).await?;
    look_for_traces(mesh, page, &[&client.first, &client.second]).await
}

/// The client, its two secrets, and a call signed with each.
struct Client {
    first: String,
    second: String,
    signed_with_first: Call,
    signed_with_second: Call,
}

impl Client {
    fn new(mesh: &Mesh) -> Result<Self> {
        let (first, second) = (random(), random());
        let (signed_with_first, signed_with_second) = (mesh.call(&first)?, mesh.call(&second)?);
        Ok(Self { first, second, signed_with_first, signed_with_second })
    }

    /// The calls that a verifier accepts with what its store holds.
    fn accepted_with(&self, held: Option<&Held>) -> Accepted {
        let accepts = |call| held.is_some_and(|held| held.accepts(call));
        match (accepts(&self.signed_with_first), accepts(&self.signed_with_second)) {
            (true, false) => Accepted::First,
            (false, true) => Accepted::Second,
            (false, false) => Accepted::Neither,
            (true, true) => Accepted::Both,
        }
    }
}

/// Which secret a call must be signed with to be accepted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Accepted {
    First,
    Second,
    Neither,
    Both,
}

fn introduce(mesh: &Mesh, page: &Page) {
    println!("A mesh of four processes, each with its own Redis, on one RabbitMQ.");
    println!("`holds` is a fingerprint of the hash in that peer's Redis, read from there.");
    page.note(&format!("RabbitMQ at {}", mesh.broker_address()));
    let mut rows = vec![["peer", "mode", "pid", "Redis"].map(str::to_owned)];
    rows.extend(mesh.describe());
    page.table(&rows);
}

async fn create(mesh: &mut Mesh, page: &mut Page, client: &Client) -> Result<()> {
    page.step("create: a credential for three targets");
    let started = Instant::now();
    let revision = mesh.ensure(CLIENT, &client.first).await?;
    page.did("the authority has decided, and its own store holds it", started.elapsed());
    let before_sync = look(mesh, client).await?;
    page.check(
        "before any sync the authority alone holds it",
        before_sync.at(AUTHORITY).is_some() && TARGETS.iter().all(|t| before_sync.at(t).is_none()),
    );
    let syncing = Instant::now();
    let sync = mesh.sync().await?;
    page.did("synced: every event is confirmed by the broker", syncing.elapsed());
    let propagated = mesh.propagated(CLIENT, revision).await?;
    page.took(syncing.elapsed());
    page.did("every target has answered, from the start of the sync", syncing.elapsed());
    let after = look(mesh, client).await?;
    after.show(page);
    page.check("one event was published for each target", (sync.read, sync.published) == (3, 3));
    page.check("the credential is reported as fully propagated", propagated.outcome == "success");
    page.check("every peer holds what the authority decided", after.all_hold_the_same());
    page.check("every peer accepts a call signed with it", after.accept(&ALL, Accepted::First));
    page.check("every row is a success of this revision", after.all_rows(revision, "success"));
    page.check(
        "two targets signed; the receive-only one is believed by its event's id, and its row says so",
        after.proof(ORDERS) == Some("signed")
            && after.proof(BILLING) == Some("signed")
            && after.proof(ARCHIVE).is_some_and(|proof| proof.starts_with("unsigned")),
    );
    let refusal = mesh.refusal_of(ARCHIVE, CLIENT).await?;
    page.check(
        "the receive-only peer decides nothing: MANAGEMENT_NOT_CONFIGURED",
        refusal.as_deref() == Some("MANAGEMENT_NOT_CONFIGURED"),
    );
    Ok(())
}

async fn rotate_while_down(mesh: &mut Mesh, page: &mut Page, client: &Client) -> Result<u64> {
    page.step(&format!("rotate while `{ORDERS}` is down"));
    let old = look(mesh, client).await?;
    mesh.idle(ORDERS).await;
    let killing = Instant::now();
    mesh.kill(ORDERS).await?;
    page.did(&format!("`{ORDERS}` was killed (SIGKILL)"), killing.elapsed());
    let started = Instant::now();
    let revision = mesh.rotate(CLIENT, &client.second).await?;
    page.did("the authority has decided, and its own store holds it", started.elapsed());
    let syncing = Instant::now();
    let sync = mesh.sync().await?;
    let others = settled(mesh, revision, &[BILLING, ARCHIVE]).await?;
    page.took(syncing.elapsed());
    page.did("the targets that are up have answered, from the sync on", syncing.elapsed());
    let (again, syncs) = sync_again(mesh, page).await?;
    let after = look(mesh, client).await?;
    after.show(page);
    page.check("one event was published for each target", sync.published == 3);
    page.check("both targets that are up answered with success", others);
    page.check(
        "authority and both targets that are up hold the new secret",
        after.at(AUTHORITY).is_some()
            && after.at(AUTHORITY) != old.at(AUTHORITY)
            && [BILLING, ARCHIVE].iter().all(|peer| after.at(peer) == after.at(AUTHORITY)),
    );
    page.check(
        "they accept calls signed with the new secret, and refuse the old one",
        after.accept(&[AUTHORITY, BILLING, ARCHIVE], Accepted::Second),
    );
    page.check(
        &format!("`{ORDERS}` still holds the old one, and its row says `sent`"),
        after.at(ORDERS) == old.at(ORDERS) && after.status(ORDERS) == Some("sent"),
    );
    let waiting = mesh.waiting(ORDERS).await?;
    page.check(&format!("the {syncs} further syncs published {again} events"), again == 0);
    page.check(&format!("{waiting} event waits in the queue of `{ORDERS}`"), waiting == 1);
    Ok(revision)
}

/// What cron does all the while: the event becomes due several times meanwhile. Returns how many
/// events were published, and the number of syncs.
async fn sync_again(mesh: &mut Mesh, page: &Page) -> Result<(u64, u32)> {
    const SYNCS: u32 = 10;
    let started = Instant::now();
    let mut published = 0;
    for _ in 0..SYNCS {
        sleep(Duration::from_millis(200)).await;
        published += mesh.sync().await?.published;
    }
    page.did(&format!("{SYNCS} further syncs, as cron would do"), started.elapsed());
    Ok((published, SYNCS))
}

async fn come_back(mesh: &mut Mesh, page: &mut Page, client: &Client, revision: u64) -> Result<()> {
    page.step(&format!("`{ORDERS}` returns"));
    let started = Instant::now();
    mesh.start_again(ORDERS).await?;
    let propagated = mesh.propagated(CLIENT, revision).await?;
    page.took(started.elapsed());
    page.did("its process is up, has applied what waited and has answered", started.elapsed());
    let after = look(mesh, client).await?;
    after.show(page);
    page.check(
        "the same revision is now reported as fully propagated, without another sync",
        propagated.revision == revision && propagated.outcome == "success",
    );
    page.check("every peer holds what the authority decided", after.all_hold_the_same());
    page.check("every peer accepts the new secret only", after.accept(&ALL, Accepted::Second));
    page.check("every row is a success of this revision", after.all_rows(revision, "success"));
    page.check("its queue is empty", mesh.waiting(ORDERS).await? == 0);
    Ok(())
}

async fn revoke(mesh: &mut Mesh, page: &mut Page, client: &Client) -> Result<()> {
    page.step("revoke");
    let started = Instant::now();
    let revision = mesh.revoke(CLIENT).await?;
    page.did("the authority has decided, and its own store holds nothing", started.elapsed());
    let at_once = look(mesh, client).await?;
    page.check("the authority refuses it before any sync", at_once.at(AUTHORITY).is_none());
    let syncing = Instant::now();
    mesh.sync().await?;
    let propagated = mesh.propagated(CLIENT, revision).await?;
    page.took(syncing.elapsed());
    page.did("every target has answered, from the start of the sync", syncing.elapsed());
    let after = look(mesh, client).await?;
    after.show(page);
    page.check("the revocation is reported as fully propagated", propagated.outcome == "success");
    page.check("no peer holds anything", after.none_holds_any());
    page.check("every peer refuses both secrets", after.accept(&ALL, Accepted::Neither));
    page.check("every row is a success of this revision", after.all_rows(revision, "success"));
    Ok(())
}

async fn look_for_traces(mesh: &mut Mesh, page: &mut Page, secrets: &[&str]) -> Result<()> {
    page.step("look for what must not be there");
    let mut found = false;
    for secret in secrets {
        found |= mesh.any_store_contains(secret).await?;
    }
    page.check("no peer's Redis contains a plain secret", !found);
    let mut waiting = 0;
    for peer in ALL {
        waiting += mesh.waiting(peer).await?;
    }
    page.check("no message waits in any queue", waiting == 0);
    page.check("a last sync finds nothing to do", mesh.sync().await?.read == 0);
    Ok(())
}

/// Waits until these targets' rows are no longer open; returns whether all are a success.
async fn settled(mesh: &mut Mesh, revision: u64, targets: &[&str]) -> Result<bool> {
    let end = Instant::now() + SOON;
    loop {
        let rows = mesh.rows(CLIENT).await?;
        let mut concerned = rows
            .iter()
            .filter(|row| targets.contains(&row.target.as_str()) && row.revision == revision);
        if concerned.clone().all(|row| row.status == "success") {
            return Ok(concerned.clone().count() == targets.len());
        }
        if concerned.any(|row| row.status == "error") || Instant::now() > end {
            return Ok(false);
        }
        sleep(Duration::from_millis(2)).await;
    }
}

/// What every store and every row says at one moment.
struct View {
    stores: Vec<Place>,
    rows: Vec<RowReport>,
}

/// A peer, whether it runs, and what its store holds.
struct Place {
    peer: &'static str,
    up: bool,
    held: Option<Held>,
    accepted: Accepted,
}

async fn look(mesh: &mut Mesh, client: &Client) -> Result<View> {
    let mut stores = Vec::new();
    for peer in ALL {
        let (up, held) = (mesh.is_up(peer)?, mesh.holds(peer, CLIENT).await?);
        let accepted = client.accepted_with(held.as_ref());
        stores.push(Place { peer, up, held, accepted });
    }
    Ok(View { stores, rows: mesh.rows(CLIENT).await? })
}

impl View {
    fn at(&self, peer: &str) -> Option<&Held> {
        self.place(peer).and_then(|place| place.held.as_ref())
    }

    fn place(&self, peer: &str) -> Option<&Place> {
        self.stores.iter().find(|place| place.peer == peer)
    }

    /// Whether a call is accepted at these peers exactly if it is signed with that secret.
    fn accept(&self, peers: &[&str], secret: Accepted) -> bool {
        peers.iter().all(|peer| self.place(peer).is_some_and(|place| place.accepted == secret))
    }

    fn row(&self, target: &str) -> Option<&RowReport> {
        self.rows.iter().find(|row| row.target == target)
    }

    fn status(&self, target: &str) -> Option<&str> {
        self.row(target).map(|row| row.status.as_str())
    }

    fn proof(&self, target: &str) -> Option<&str> {
        self.row(target).and_then(|row| row.proof.as_deref())
    }

    fn all_hold_the_same(&self) -> bool {
        let authority = self.at(AUTHORITY);
        authority.is_some() && TARGETS.iter().all(|target| self.at(target) == authority)
    }

    fn none_holds_any(&self) -> bool {
        self.stores.iter().all(|place| place.held.is_none())
    }

    fn all_rows(&self, revision: u64, status: &str) -> bool {
        self.rows.len() == TARGETS.len()
            && self.rows.iter().all(|row| row.revision == revision && row.status == status)
    }

    fn show(&self, page: &Page) {
        let mut table = vec![
            ["peer", "process", "holds", "accepts calls signed with", "row", "answer"]
                .map(str::to_owned),
        ];
        for Place { peer, up, held, accepted } in &self.stores {
            let row = self.row(peer);
            let text = |of: Option<String>| of.unwrap_or_else(|| "-".into());
            let accepts = match accepted {
                Accepted::First => "the first secret",
                Accepted::Second => "the second secret",
                Accepted::Neither => "neither secret",
                Accepted::Both => "BOTH secrets",
            };
            table.push([
                (*peer).to_owned(),
                if *up { "up" } else { "down" }.to_owned(),
                held.as_ref().map_or("nothing".into(), ToString::to_string),
                accepts.to_owned(),
                text(row.map(|row| row.status.clone())),
                text(row.and_then(|row| row.proof.clone())),
            ]);
        }
        page.table(&table);
    }
}
