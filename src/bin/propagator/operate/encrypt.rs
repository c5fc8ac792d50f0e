//! `propagator encrypt`

use clap::Args;
use serde_json::json;

use super::Common;
use super::operator::Operator;
use super::progress::Progress;
use crate::fault::Fault;
use crate::output;
use crate::peer::database_fault;

/// Needed once when a database that is in use gets its first key, and after each change of the key.
/// Others may go on working.
#[derive(Args)]
pub(crate) struct Encrypt {
    /// Only bring the data keys under the configured key, after which the old one is not needed any
    /// more; leave the data keys, and what they encrypt, as they are.
    #[arg(long)]
    keys_only: bool,
    #[command(flatten)]
    common: Common,
}

impl Encrypt {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let operator = Operator::open(&self.common).await?;
        let database = operator.peer.config.database.as_ref();
        if database.is_none_or(|database| database.keys.is_none()) {
            let ways = "set DATABASE_KEY or DATABASE_PASSPHRASE";
            return Err(Fault::new(format!("there is no key to encrypt under: {ways}")));
        }
        let rewrapped = operator.management.rewrap_keys().await;
        let rewrapped = rewrapped
            .map_err(|error| database_fault("cannot bring the data keys under the key", error))?;
        let changed = if self.keys_only { 0 } else { reencrypt(&operator).await? };
        if operator.json {
            return output::json(&json!({ "dataKeys": rewrapped, "values": changed }));
        }
        let words = format!("{rewrapped} data keys under the key, {changed} values encrypted anew");
        output::line(&words)
    }
}

async fn reencrypt(operator: &Operator) -> Result<u64, Fault> {
    let mut progress = Progress::new();
    let told = |state: hmac_propagator::management::sql::Reencryption| {
        progress.say(format!("{} of {} rows", state.done, state.total));
    };
    let done = operator.management.reencrypt(told).await;
    done.map(|state| state.changed).map_err(|error| database_fault("cannot encrypt", error))
}
