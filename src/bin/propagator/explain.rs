//! `propagator explain`

mod difference;
mod mistakes;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::message::MessageArgs;
use crate::request::RequestArgs;
use crate::{input, output};

#[derive(Args)]
pub(crate) struct Explain {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Prints {"canonical", "hash", "signature", "difference"} of a request.
    Request {
        #[command(flatten)]
        request: RequestArgs,
        #[command(flatten)]
        given: Given,
    },
    /// Prints {"canonical", "hash", "payload", "signature", "difference"} of a message.
    Message {
        #[command(flatten)]
        message: MessageArgs,
        #[command(flatten)]
        given: Given,
    },
}

/// What to do about a signature that no known mistake yields.
const UNKNOWN: &str = "no known mistake yields it: compare the hashes that both sides hold (`propagator hash` makes one from secret \
                       and pepper), and then the text that the other side signs, with --canonical";

/// What the other side has.
#[derive(Args)]
struct Given {
    /// The signature to compare with.
    #[arg(long, value_name = "HEX")]
    signature: Option<String>,
    /// The canonical text to compare with.
    #[arg(long, value_name = "TEXT", conflicts_with = "canonical_file")]
    canonical: Option<String>,
    /// A file with the canonical text to compare with, `-` for standard input; taken exactly.
    #[arg(long, value_name = "FILE")]
    canonical_file: Option<PathBuf>,
}

impl Explain {
    pub(crate) fn run(self) -> Result<(), Fault> {
        match self.what {
            What::Request { request, given } => {
                if given.is_something() && !request.is_complete() {
                    let what = "--timestamp and --nonce, as they were signed";
                    return Err(Fault::new(format!("a comparison takes {what}")));
                }
                let request = request.read(given.takes_stdin())?;
                let (canonical, signature) = (request.to_sign().payload(), request.signature());
                let difference = given.difference(
                    signature.as_str(),
                    |given| difference::of_requests(&canonical, given),
                    |given| mistakes::of_request(&request, given),
                )?;
                output::json(&json!({
                    "canonical": canonical,
                    "hash": request.digest.as_str(),
                    "signature": signature.as_str(),
                    "difference": difference,
                }))
            }
            What::Message { message, given } => {
                let message = message.read(given.takes_stdin())?;
                let signature = message.signature();
                let difference = given.difference(
                    signature.as_str(),
                    |given| difference::of_texts(&message.canonical, given),
                    |given| mistakes::of_message(&message, given),
                )?;
                output::json(&json!({
                    "canonical": message.canonical,
                    "hash": message.hash.as_str(),
                    "payload": message.payload(),
                    "signature": signature.as_str(),
                    "difference": difference,
                }))
            }
        }
    }
}

impl Given {
    fn is_something(&self) -> bool {
        self.signature.is_some() || self.canonical.is_some() || self.canonical_file.is_some()
    }

    fn takes_stdin(&self) -> bool {
        self.canonical_file.as_deref().is_some_and(input::is_stdin)
    }

    /// The first difference: in the text, if that is given, and otherwise in the signature. Null when
    /// there is none.
    fn difference(
        &self,
        signature: &str,
        in_text: impl Fn(&str) -> Option<Value>,
        mistake: impl Fn(&str) -> Option<&'static str>,
    ) -> Result<Value, Fault> {
        let canonical = match &self.canonical_file {
            Some(file) => Some(String::from_utf8_lossy(&input::bytes(file)?).into_owned()),
            None => self.canonical.clone(),
        };
        if let Some(difference) = canonical.as_deref().and_then(in_text) {
            return Ok(difference);
        }
        let Some(given) = self.signature.as_deref().map(str::trim) else {
            return Ok(Value::Null);
        };
        if given.eq_ignore_ascii_case(signature) {
            return Ok(Value::Null);
        }
        let cause = match mistake(&given.to_ascii_lowercase()) {
            _ if !input::is_digest(given) => {
                Some("it is not 64 hexadecimal digits, as every signature is")
            }
            None if canonical.is_some() => Some("the texts are the same, so the keys differ"),
            found => found,
        };
        let mut found =
            json!({ "in": "signature", "ours": signature, "given": given, "cause": cause });
        if cause.is_none() {
            found["hint"] = UNKNOWN.into();
        }
        Ok(found)
    }
}
