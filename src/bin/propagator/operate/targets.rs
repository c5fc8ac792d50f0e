//! `propagator targets`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hmac_propagator::id::{ClientId, CredentialKey, PeerQueue, Track};
use hmac_propagator::management::Management;
use hmac_propagator::management::sql::{NewTarget, OperatorError, TargetChange, TargetInfo};
use serde_json::{Value, json};

use super::driver::Driver;
use super::operator::Operator;
use super::table::{table, time, yes};
use super::{Common, failure, secret};
use crate::fault::Fault;
use crate::output;

#[derive(Args)]
pub(crate) struct Targets {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Show the directory.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Add a peer.
    Add {
        /// Its name.
        target: PeerQueue,
        /// A file with its propagation secret, `-` for standard input. Otherwise TARGET_SECRET.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        /// It cannot sign its answers: they count without a signature.
        #[arg(long)]
        receive_only: bool,
        /// Whom to ask about it, for example.
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Change a peer; what is not given stays.
    Change {
        /// Its name.
        target: PeerQueue,
        /// A file with its new propagation secret, `-` for standard input. Otherwise TARGET_SECRET.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        /// Whether its answers count without a signature.
        #[arg(long)]
        receive_only: Option<bool>,
        /// Another note; an empty one removes it.
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Drop a peer that no credential has as a target.
    Drop {
        /// Its name.
        target: PeerQueue,
        #[command(flatten)]
        common: Common,
    },
    /// Open a row again that has failed: the next sync sends it.
    Retry {
        #[command(flatten)]
        row: Row,
        #[command(flatten)]
        common: Common,
    },
    /// Ask a peer again for all that it has confirmed, because it lost its store and cannot say so itself:
    /// the next sync does it. What it still holds it confirms once more.
    Resend {
        /// Its name.
        target: PeerQueue,
        #[command(flatten)]
        common: Common,
    },
    /// Give up a row, for a peer that is gone for good. One that lives keeps what it holds.
    Detach {
        #[command(flatten)]
        row: Row,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
struct Row {
    /// The client.
    client: ClientId,
    /// The target.
    target: PeerQueue,
    /// `http` or `message`.
    #[arg(long, default_value_t)]
    track: Track,
}

impl Targets {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        match self.what {
            What::List { common } => list(&common).await,
            What::Add { target, secret_file, receive_only, note, common } => {
                add(&common, target, secret_file, receive_only, note).await
            }
            What::Change { target, secret_file, receive_only, note, common } => {
                change(&common, target, secret_file, receive_only, note).await
            }
            What::Drop { target, common } => drop_target(&common, &target).await,
            What::Retry { row, common } => {
                let operator = Operator::open(&common).await?;
                let done = operator.management.retry_target(&row.key(), &row.target).await;
                done.map_err(|error| failure::of_operator("cannot try again", error))?;
                row.tell(&operator, "target.retry", "will be sent again to")
            }
            What::Resend { target, common } => resend(&common, &target).await,
            What::Detach { row, common } => {
                let operator = Operator::open(&common).await?;
                let done = operator.management.detach_target(&row.key(), &row.target).await;
                done.map_err(|error| failure::of_operator("cannot detach", error))?;
                row.tell(&operator, "target.detach", "no longer has the target")
            }
        }
    }
}

impl Row {
    fn key(&self) -> CredentialKey {
        CredentialKey::new(self.track, self.client.clone())
    }

    fn tell(&self, operator: &Operator, op: &str, words: &str) -> Result<(), Fault> {
        if operator.json {
            return output::json(&json!({
                "op": op,
                "clientId": self.client,
                "track": self.track,
                "targetAmqpQueue": self.target,
            }));
        }
        output::line(&format!("{} {words} {}", self.key(), self.target))
    }
}

async fn list(common: &Common) -> Result<(), Fault> {
    let operator = Operator::open(common).await?;
    let targets = operator.management.targets().await;
    let targets = targets.map_err(|error| failure::of_operator("cannot read targets", error))?;
    if operator.json {
        let targets: Vec<Value> = targets.iter().map(target_json).collect();
        return output::json(&json!({ "targets": targets }));
    }
    let rows = targets.into_iter().map(|target| {
        [
            target.queue.to_string(),
            target.credentials.to_string(),
            target.open.to_string(),
            target.failed.to_string(),
            yes(target.receive_only),
            time(Some(target.updated_at_ms)),
            target.note.unwrap_or_else(|| "-".into()),
        ]
    });
    let head = ["TARGET", "CREDENTIALS", "OPEN", "FAILED", "RECEIVE-ONLY", "CHANGED", "NOTE"];
    output::line(&table(head, rows.collect()))
}

fn target_json(target: &TargetInfo) -> Value {
    json!({
        "targetAmqpQueue": target.queue,
        "receiveOnly": target.receive_only,
        "note": target.note,
        "createdAt": target.created_at_ms,
        "updatedAt": target.updated_at_ms,
        "credentials": target.credentials,
        "open": target.open,
        "failed": target.failed,
    })
}

async fn add(
    common: &Common,
    target: PeerQueue,
    secret_file: Option<PathBuf>,
    receive_only: bool,
    note: Option<String>,
) -> Result<(), Fault> {
    let secret = secret::of_target(secret_file.as_ref())?;
    let missing =
        || Fault::new("the target's secret is missing: use --secret-file or TARGET_SECRET");
    let mut new = NewTarget::new(target.clone(), secret.ok_or_else(missing)?);
    if receive_only {
        new = new.receive_only();
    }
    if let Some(note) = &note {
        new = new.note(note);
    }
    let operator = Operator::open(common).await?;
    let added = operator.management.add_target(new).await;
    added.map_err(|error| failure::of_operator("cannot add the target", error))?;
    tell(&operator, "target.create", &format!("added {target}"), &target)
}

async fn change(
    common: &Common,
    target: PeerQueue,
    secret_file: Option<PathBuf>,
    receive_only: Option<bool>,
    note: Option<String>,
) -> Result<(), Fault> {
    let mut change = TargetChange::default();
    let secret = secret::of_target(secret_file.as_ref())?;
    if secret.is_none() && receive_only.is_none() && note.is_none() {
        return Err(Fault::new("nothing to change: use --secret-file, --receive-only or --note"));
    }
    if let Some(secret) = secret {
        change = change.secret(secret);
    }
    if let Some(receive_only) = receive_only {
        change = change.receive_only(receive_only);
    }
    if let Some(note) = &note {
        change = change.note(note);
    }
    let operator = Operator::open(common).await?;
    let changed = operator.management.change_target(&target, change).await;
    changed.map_err(|error| failure::of_operator("cannot change the target", error))?;
    tell(&operator, "target.update", &format!("changed {target}"), &target)
}

async fn drop_target(common: &Common, target: &PeerQueue) -> Result<(), Fault> {
    let operator = Operator::open(common).await?;
    let dropped = operator.management.drop_target(target).await;
    dropped.map_err(|error| failure::of_operator("cannot drop the target", error))?;
    tell(&operator, "target.delete", &format!("dropped {target}"), target)
}

async fn resend(common: &Common, target: &PeerQueue) -> Result<(), Fault> {
    let operator = Operator::open(common).await?;
    let failed = |error| failure::of_operator("cannot ask the target again", error);
    let known = operator.management.fetch_peers().await;
    if !known.map_err(|error| failed(error.into()))?.contains(target) {
        return Err(failed(OperatorError::UnknownTarget(target.clone())));
    }
    let driver = Driver::start(&operator).await?;
    let wanted = driver.propagator.resend(target.clone()).await;
    driver.close().await;
    wanted.map_err(|error| failure::of_library("cannot ask the target again", error))?;
    tell(&operator, "target.resend", &format!("{target} will be asked again"), target)
}

fn tell(operator: &Operator, op: &str, line: &str, target: &PeerQueue) -> Result<(), Fault> {
    if operator.json {
        return output::json(&json!({ "op": op, "targetAmqpQueue": target }));
    }
    output::line(line)
}
