//! `propagator status`

use clap::Args;
use hmac_propagator::id::{ClientId, CredentialKey, Track};
use serde_json::{Value, json};

use super::Common;
use super::operator::{Operator, now_ms};
use super::show::{Standing, credential_json, credentials_table, targets_table};
use crate::fault::{Exit, Fault};
use crate::output;

/// Without a client, a line for each credential; with one, a line for each of its targets.
#[derive(Args)]
pub(crate) struct Status {
    /// The client.
    client: Option<ClientId>,
    /// `http` or `message`; default: both.
    #[arg(long)]
    track: Option<Track>,
    /// Only credentials that some target does not hold.
    #[arg(long)]
    open: bool,
    /// Most credentials.
    #[arg(long, default_value_t = 1000)]
    limit: usize,
    #[command(flatten)]
    common: Common,
}

impl Status {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let operator = Operator::open(&self.common).await?;
        match &self.client {
            Some(client) => self.of_client(&operator, client).await,
            None => self.of_all(&operator).await,
        }
    }

    async fn of_client(&self, operator: &Operator, client: &ClientId) -> Result<(), Fault> {
        let mut found = Vec::new();
        for track in Track::ALL.into_iter().filter(|track| self.track.is_none_or(|t| t == *track)) {
            let key = CredentialKey::new(track, client.clone());
            found.extend(operator.credential(&key).await?);
        }
        if found.is_empty() {
            return Err(
                Fault::new(format!("there is no credential of {client}")).exit(Exit::Unknown)
            );
        }
        if operator.json {
            let credentials: Vec<Value> = found.iter().map(credential_json).collect();
            return output::json(&json!({ "credentials": credentials, "more": false }));
        }
        output::line(&credentials_table(&found, now_ms()))?;
        output::line("")?;
        output::line(&targets_table(&found, now_ms()))
    }

    async fn of_all(&self, operator: &Operator) -> Result<(), Fault> {
        let wanted = |info: &_| !self.open || Standing::of(info) != Standing::Complete;
        let track = |track| self.track.is_none_or(|wanted| wanted == track);
        let (found, more) =
            operator.credentials(self.limit, |info| track(info.key.track) && wanted(info)).await?;
        if operator.json {
            let credentials: Vec<Value> = found.iter().map(credential_json).collect();
            return output::json(&json!({ "credentials": credentials, "more": more }));
        }
        output::line(&credentials_table(&found, now_ms()))?;
        if more { output::line("… and more: see --limit") } else { Ok(()) }
    }
}
