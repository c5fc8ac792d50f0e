//! `propagator refused`

use clap::Args;
use hmac_propagator::refused::{RefusedMessage, RefusedMessages};
use serde_json::{Value, json};

use super::Common;
use super::operator::config;
use super::table::{table, time};
use crate::fault::{Exit, Fault};
use crate::output;
use crate::peer::{install_crypto, open_redis};

/// Newest first, of this peer and its replicas: the last 100, each for 30 days. Secrets are taken out.
/// Needs Redis only.
#[derive(Args)]
pub(crate) struct Refused {
    /// Most messages.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    common: Common,
}

impl Refused {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let config = config(&self.common)?;
        install_crypto();
        let kept = RefusedMessages::new(open_redis(&config.redis_url)?);
        let found = kept.newest(self.limit).await.map_err(|error| {
            let exit = if error.is_transient() { Exit::Unreachable } else { Exit::Usage };
            Fault::because("cannot read refused messages", error).exit(exit)
        })?;
        if self.common.json {
            let found: Vec<Value> = found.iter().map(as_json).collect();
            return output::json(&json!({ "refused": found }));
        }
        let head = ["NUMBER", "AT", "REASON", "FROM", "BYTES", "DETAIL", "MESSAGE"];
        output::line(&table(head, found.into_iter().map(row).collect()))
    }
}

fn as_json(refused: &RefusedMessage) -> Value {
    let message: Option<Value> =
        refused.message.as_ref().and_then(|text| serde_json::from_str(text).ok());
    json!({
        "number": refused.number,
        "at": refused.at_ms,
        "reason": refused.reason.as_str(),
        "detail": refused.detail,
        "senderAmqpQueue": refused.sender,
        "bytes": refused.bytes,
        "sha256": refused.sha256,
        "message": message,
    })
}

fn row(refused: RefusedMessage) -> [String; 7] {
    let dash = || "-".to_owned();
    [
        refused.number.to_string(),
        time(Some(refused.at_ms)),
        refused.reason.as_str().to_owned(),
        refused.sender.map_or_else(dash, String::from),
        refused.bytes.to_string(),
        refused.detail,
        refused.message.unwrap_or_else(dash),
    ]
}
