//! The scenario, step by step. Knows what is done and what must hold then, not how peers are run.

mod absence;
mod directory;
mod life;
mod look;
mod readiness;
mod secrecy;

use std::time::Instant;

use serde_json::json;

use crate::Result;
use crate::admin::Answer;
use crate::call::Caller;
use crate::mesh::{ALL, AUTHORITY, COUNTER, FULL, Mesh, PEERS, SOON, TARGETS};
use crate::page::Page;
use crate::wait::within;

/// Plays everything but the end. Credentials and directory are left for whoever wants to look.
///
/// # Errors
/// When a step could not be carried out at all. What did not hold is on the page.
pub async fn run(mesh: &mut Mesh, page: &mut Page) -> Result<()> {
    let mut given = Given::default();
    readiness::ready(mesh, page).await?;
    readiness::introduce(mesh, page).await?;
    life::create(mesh, page, &mut given).await?;
    life::call(mesh, page, &given).await?;
    life::rotate(mesh, page, &mut given).await?;
    life::revoke(mesh, page, &given).await?;
    life::stay_local(mesh, page, &mut given).await?;
    directory::add_and_drop(mesh, page, &mut given).await?;
    directory::refuse(mesh, page).await?;
    absence::away_and_back(mesh, page, &mut given).await?;
    secrecy::search(mesh, page, &given).await?;
    page.end_step();
    Ok(())
}

/// Revokes what is left and empties the directories.
///
/// # Errors
/// When a peer does not answer.
pub async fn clean_up(mesh: &Mesh, page: &mut Page) -> Result<()> {
    page.step("clean up");
    let started = Instant::now();
    let authority = mesh.admin(AUTHORITY)?;
    let state = authority.get("/admin/state").await?;
    let mut revoked = Vec::new();
    for credential in state.body["credentials"].as_array().into_iter().flatten() {
        let (client, deleted) = (&credential["clientId"], &credential["deleted"]);
        let (Some(client), Some(false)) = (client.as_str(), deleted.as_bool()) else { continue };
        let body = json!({ "clientId": client, "track": credential["track"], "targets": [] });
        if authority.post("/admin/revoke", body).await?.status == 201 {
            revoked.push(client.to_owned());
        }
    }
    let mut all_gone = true;
    for client in &revoked {
        all_gone &= within(SOON, || async { is_gone(mesh, client).await == Ok(true) }).await;
    }
    page.did(&format!("{} credentials were left, and revoked", revoked.len()), started.elapsed());
    page.check("nothing of them is left at any peer", all_gone);
    page.check("the rows of their removal are a success", settled(mesh, &revoked).await?);
    let mut dropped = Vec::new();
    for full in FULL {
        let admin = mesh.admin(full)?;
        let state = admin.get("/admin/state").await?;
        for target in state.body["targets"].as_array().into_iter().flatten() {
            let queue = target["targetAmqpQueue"].as_str().unwrap_or_default();
            dropped.push(admin.delete(&format!("/admin/targets/{queue}")).await?);
        }
    }
    let all = dropped.iter().all(|answer| answer.did(200, "target.delete"));
    page.check("every directory is emptied", all && dropped.len() >= TARGETS.len() + 2);
    let sync = authority.sync().await?;
    let nothing = sync.body["propagationsRead"] == 0 && sync.body["targetsPublished"] == 0;
    page.check("a last sync finds nothing to do", sync.status == 200 && nothing);
    let mut waiting = 0;
    for name in ALL {
        waiting += mesh.waiting(name).await?;
    }
    page.check("no message waits in any queue", waiting == 0);
    Ok(())
}

/// Stops the peers as an operator would.
///
/// # Errors
/// When a peer does not end.
pub async fn stop(mesh: Mesh, page: &mut Page) -> Result<()> {
    page.step("stop");
    let started = Instant::now();
    let left = mesh.stop().await?;
    page.did("all peers were stopped with SIGTERM, and the servers", started.elapsed());
    page.check("every peer ended with exit code 0", left.all_ended_well);
    page.check("no process, port or file of the mesh is left", left.is_nothing().await);
    Ok(())
}

/// What clients were given, for the search at the end.
#[derive(Default)]
struct Given {
    /// The secrets that are in effect, last given last.
    callers: Vec<(&'static str, Caller)>,
    plain: Vec<String>,
}

impl Given {
    /// Takes the secret out of an answer that shows it once.
    fn take(&mut self, mesh: &Mesh, client: &'static str, answer: &Answer) -> Result<()> {
        let secret = answer.text("secret");
        if secret.is_empty() {
            let (status, why) = (answer.status, answer.text("message"));
            return Err(format!("no secret was made for {client}: {status} {why}").into());
        }
        self.callers.push((client, mesh.caller(client, secret)?));
        self.plain.push(secret.to_owned());
        Ok(())
    }

    /// Whoever was given the client's last secret.
    fn caller(&self, client: &str) -> Result<&Caller> {
        let mut mine = self.callers.iter().rev().filter(|(name, _)| *name == client);
        Ok(mine.next().map(|(_, caller)| caller).ok_or("no such client")?)
    }

    /// Whoever was given the one before.
    fn former_caller(&self, client: &str) -> Result<&Caller> {
        let mut mine = self.callers.iter().rev().filter(|(name, _)| *name == client);
        Ok(mine.nth(1).map(|(_, caller)| caller).ok_or("no former secret")?)
    }
}

/// Whether all these targets of a credential are a success of this version, within the usual time.
async fn propagated(mesh: &Mesh, client: &str, revision: u64, targets: &[&str]) -> bool {
    let Ok(authority) = mesh.admin(AUTHORITY) else { return false };
    within(SOON, || async {
        let rows = authority.rows(client).await.unwrap_or_default();
        targets.iter().all(|target| {
            rows.iter().any(|row| {
                row.target == *target && row.revision == revision && row.status == "success"
            })
        })
    })
    .await
}

/// Whether no peer holds anything for a client.
async fn is_gone(mesh: &Mesh, client: &str) -> Result<bool, String> {
    for name in PEERS.into_iter().chain([COUNTER]) {
        if mesh.holds(name, client).await.map_err(|error| error.to_string())?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether all rows of these clients come to be a success.
async fn settled(mesh: &Mesh, clients: &[String]) -> Result<bool> {
    let authority = mesh.admin(AUTHORITY)?;
    let all = || async {
        for client in clients {
            let Ok(rows) = authority.rows(client).await else { return false };
            if !rows.iter().all(|row| row.status == "success") {
                return false;
            }
        }
        true
    };
    Ok(within(SOON, all).await)
}

/// The version that was decided.
fn revision(answer: &Answer) -> Result<u64> {
    let revision = answer.body["revision"].as_u64();
    Ok(revision.ok_or_else(|| format!("not decided: {answer:?}"))?)
}
