//! `propagator sign`

use clap::{Args, Subcommand};
use hmac_propagator::auth::{X_CLIENT_ID, X_NONCE, X_SIGNATURE, X_TIMESTAMP};
use serde_json::{Map, Value, json};

use crate::fault::Fault;
use crate::message::MessageArgs;
use crate::output;
use crate::request::{Request, RequestArgs};

#[derive(Args)]
pub(crate) struct Sign {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Prints {"canonical", "signature", "headers"}.
    Request(RequestArgs),
    /// Reads JSON from standard input; prints {"canonical", "messageHash", "signature"}.
    Message(MessageArgs),
}

impl Sign {
    pub(crate) fn run(self) -> Result<(), Fault> {
        match self.what {
            What::Request(arguments) => {
                let request = arguments.read(false)?;
                let signature = request.signature().to_string();
                output::json(&json!({
                    "canonical": request.to_sign().payload(),
                    "signature": signature,
                    "headers": headers(&request, &signature),
                }))
            }
            What::Message(arguments) => {
                let message = arguments.read(false)?;
                output::json(&json!({
                    "canonical": message.canonical,
                    "messageHash": message.hash.as_str(),
                    "signature": message.signature().as_str(),
                }))
            }
        }
    }
}

fn headers(request: &Request, signature: &str) -> Value {
    let mut headers = Map::new();
    let mut set = |name: &str, value: &str| headers.insert(name.to_owned(), value.into());
    if let Some(client_id) = &request.client_id {
        set(X_CLIENT_ID, client_id);
    }
    set(X_TIMESTAMP, &request.timestamp_ms.to_string());
    set(X_NONCE, &request.nonce);
    set(X_SIGNATURE, signature);
    Value::Object(headers)
}
