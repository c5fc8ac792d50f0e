//! `propagator audit`

use clap::Args;
use hmac_propagator::id::{ClientId, CredentialKey, Track};
use hmac_propagator::management::sql::{AuditCheck, AuditEntry, AuditHead, AuditQuery};
use serde_json::{Value, json};

use super::Common;
use super::operator::Operator;
use super::table::{table, time};
use crate::fault::{Exit, Fault};
use crate::output;
use crate::peer::database_fault;

/// Newest first.
#[derive(Args)]
pub(crate) struct Audit {
    /// Only of this client.
    client: Option<ClientId>,
    /// `http` or `message`.
    #[arg(long, default_value_t, requires = "client")]
    track: Track,
    /// Most entries.
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Only entries with a smaller number: the next page.
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
    /// Follow the chain from its start instead. Ends with 1 when it is broken.
    #[arg(long, conflicts_with_all = ["client", "limit", "before"])]
    verify: bool,
    /// An end that was seen before, as NUMBER:HASH: it must be in the chain.
    #[arg(long, value_name = "END", requires = "verify", value_parser = head)]
    known: Option<AuditHead>,
    #[command(flatten)]
    common: Common,
}

impl Audit {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let operator = Operator::open(&self.common).await?;
        if self.verify {
            return verify(&operator, self.known.as_ref()).await;
        }
        let mut query = AuditQuery::newest(self.limit);
        if let Some(client) = self.client {
            query = query.of(CredentialKey::new(self.track, client));
        }
        if let Some(before) = self.before {
            query = query.before(before);
        }
        let entries = operator.management.audit(&query).await;
        let entries = entries.map_err(|error| database_fault("cannot read the audit", error))?;
        if operator.json {
            let entries: Vec<Value> = entries.iter().map(entry_json).collect();
            return output::json(&json!({ "entries": entries }));
        }
        let head = ["NUMBER", "AT", "ACTION", "BY", "CREDENTIAL", "TARGET", "REVISION", "DETAIL"];
        output::line(&table(head, entries.into_iter().map(row).collect()))
    }
}

async fn verify(operator: &Operator, known: Option<&AuditHead>) -> Result<(), Fault> {
    let check = operator.management.verify_audit(known).await;
    let check = check.map_err(|error| database_fault("cannot verify the audit", error))?;
    match check {
        AuditCheck::Intact(AuditHead { seq, hash }) => {
            if operator.json {
                return output::json(&json!({ "intact": true, "seq": seq, "hash": hash }));
            }
            output::line(&format!("intact, {seq} entries; its end: {seq}:{hash}"))
        }
        AuditCheck::Broken { seq, reason } => {
            if operator.json {
                output::json(&json!({ "intact": false, "seq": seq, "reason": reason }))?;
            }
            Err(Fault::new(format!("the audit is broken: entry {seq} is {reason}"))
                .exit(Exit::Problems))
        }
    }
}

fn entry_json(entry: &AuditEntry) -> Value {
    json!({
        "seq": entry.seq,
        "at": entry.at_ms,
        "action": entry.action,
        "actor": entry.actor,
        "track": entry.track,
        "clientId": entry.client_id,
        "targetAmqpQueue": entry.target,
        "revision": entry.revision,
        "eventId": entry.event_id,
        "detail": entry.detail,
        "hash": entry.hash,
    })
}

fn row(entry: AuditEntry) -> [String; 8] {
    let dash = || "-".to_owned();
    let credential = entry.track.zip(entry.client_id).map(|(track, id)| format!("{track}:{id}"));
    [
        entry.seq.to_string(),
        time(Some(entry.at_ms)),
        entry.action,
        entry.actor,
        credential.unwrap_or_else(dash),
        entry.target.unwrap_or_else(dash),
        entry.revision.map_or_else(dash, |revision| revision.to_string()),
        entry.detail.unwrap_or_else(dash),
    ]
}

fn head(text: &str) -> Result<AuditHead, String> {
    let parts = text.split_once(':').and_then(|(seq, hash)| Some((seq.parse().ok()?, hash)));
    let parts =
        parts.filter(|(_, hash)| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
    let (seq, hash) =
        parts.ok_or_else(|| "expected NUMBER:HASH as --verify prints it".to_owned())?;
    Ok(AuditHead { seq, hash: hash.to_ascii_lowercase() })
}
