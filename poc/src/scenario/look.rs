//! What every store, every row and every peer's door says at one moment.

use crate::Result;
use crate::admin::Row;
use crate::call::{Caller, known_as, refusal};
use crate::mesh::{AUTHORITY, Mesh};
use crate::page::Page;
use crate::store::Held;

/// What the peers say about one client.
pub(super) struct View {
    places: Vec<Seen>,
    pub(super) rows: Vec<Row>,
    labels: Vec<&'static str>,
}

struct Seen {
    peer: &'static str,
    up: bool,
    held: Option<Held>,
    /// For each caller: `None`, it was let in; else the code of the refusal.
    answers: Vec<Option<String>>,
}

/// Looks into these peers' stores, and has each caller knock at each peer that runs.
pub(super) async fn look(
    mesh: &Mesh,
    peers: &[&'static str],
    client: &str,
    callers: &[(&'static str, &Caller)],
) -> Result<View> {
    let mut places = Vec::new();
    for peer in peers {
        let up = mesh.is_up(peer);
        let mut answers = Vec::new();
        for (_, caller) in callers {
            if !up {
                answers.push(Some("-".to_owned()));
                continue;
            }
            let answer = caller.get(&mesh.signed_route(peer)?).await?;
            let let_in = known_as(&answer) == Some(client);
            let why = refusal(&answer).unwrap_or("taken for somebody else");
            answers.push((!let_in).then(|| why.to_owned()));
        }
        places.push(Seen { peer, up, held: mesh.holds(peer, client).await?, answers });
    }
    let rows = mesh.admin(AUTHORITY)?.rows(client).await?;
    let labels = callers.iter().map(|(label, _)| *label).collect();
    Ok(View { places, rows, labels })
}

impl View {
    fn at(&self, peer: &str) -> Option<&Seen> {
        self.places.iter().find(|seen| seen.peer == peer)
    }

    /// Whether these peers' stores hold what this caller signs with.
    pub(super) fn hold(&self, peers: &[&str], caller: &Caller) -> bool {
        peers.iter().all(|peer| {
            let held = self.at(peer).and_then(|seen| seen.held.as_ref());
            held.is_some_and(|held| held.is(caller.hash()))
        })
    }

    /// Whether these peers' stores hold nothing.
    pub(super) fn hold_nothing(&self, peers: &[&str]) -> bool {
        peers.iter().all(|peer| self.at(peer).is_some_and(|seen| seen.held.is_none()))
    }

    /// Whether these peers let a caller in.
    pub(super) fn let_in(&self, peers: &[&str], label: &str) -> bool {
        self.each(peers, label, |answer| answer.is_none())
    }

    /// Whether these peers refuse a caller with this code.
    pub(super) fn refuse(&self, peers: &[&str], label: &str, code: &str) -> bool {
        self.each(peers, label, |answer| answer.as_deref() == Some(code))
    }

    fn each(&self, peers: &[&str], label: &str, holds: impl Fn(&Option<String>) -> bool) -> bool {
        let Some(index) = self.labels.iter().position(|known| *known == label) else {
            return false;
        };
        peers.iter().all(|peer| self.at(peer).is_some_and(|seen| holds(&seen.answers[index])))
    }

    /// Whether the credential has exactly these targets, all a success of this version.
    pub(super) fn all_rows(&self, revision: u64, targets: &[&str]) -> bool {
        self.rows.len() == targets.len()
            && targets.iter().all(|target| {
                self.row(target)
                    .is_some_and(|row| row.revision == revision && row.status == "success")
            })
    }

    pub(super) fn row(&self, target: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.target == target)
    }

    pub(super) fn show(&self, page: &Page) {
        let [first, second] = [0, 1].map(|index| self.labels.get(index).copied());
        let heading =
            |label: Option<&str>| label.map_or_else(String::new, |l| format!("signed with {l}"));
        let mut table = vec![[
            "peer".to_owned(),
            "process".to_owned(),
            "Redis holds".to_owned(),
            heading(first),
            heading(second),
            "row".to_owned(),
            "proof".to_owned(),
        ]];
        for seen in &self.places {
            let answer = |index: usize| match seen.answers.get(index) {
                None => String::new(),
                Some(None) => "let in".to_owned(),
                Some(Some(code)) => code.clone(),
            };
            let row = self.row(seen.peer);
            table.push([
                seen.peer.to_owned(),
                if seen.up { "up" } else { "down" }.to_owned(),
                seen.held.as_ref().map_or("nothing".into(), ToString::to_string),
                answer(0),
                answer(1),
                row.map_or("-".into(), |row| row.status.clone()),
                row.map_or("-".into(), |row| row.proof.clone()),
            ]);
        }
        page.table(&table);
    }
}
