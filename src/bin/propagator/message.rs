//! A message to sign, from the command line.

use std::path::PathBuf;

use clap::Args;
use hmac_propagator::auth::{Canonicalizer, HexDigest, message_payload, message_sha256};
use zeroize::Zeroizing;

use crate::fault::Fault;
use crate::input::{self, KeyInput};

#[derive(Args)]
pub(crate) struct MessageArgs {
    /// Who signs.
    #[arg(long, allow_hyphen_values = true)]
    client_id: String,
    /// The message as JSON, `-` for standard input.
    #[arg(long, value_name = "FILE", default_value = "-")]
    message_file: PathBuf,
    /// The locale whose order of letters the peers sort keys by.
    #[arg(long, default_value = "en")]
    locale: String,
    #[command(flatten)]
    key: KeyInput,
}

/// A message with everything that its signature needs.
pub(crate) struct Message {
    pub(crate) client_id: String,
    /// As it was given.
    pub(crate) json: String,
    pub(crate) canonical: String,
    pub(crate) hash: HexDigest,
    pub(crate) key: Zeroizing<String>,
}

impl MessageArgs {
    pub(crate) fn read(self, stdin_taken: bool) -> Result<Message, Fault> {
        let from_stdin = input::is_stdin(&self.message_file);
        input::only_one_from_stdin(&[stdin_taken, from_stdin, self.key.takes_stdin()])?;
        let key = self.key.read()?;
        let bytes = input::bytes(&self.message_file)?;
        // What is not UTF-8 is replaced, as the deployed peers decode it.
        let json = String::from_utf8_lossy(&bytes).into_owned();
        let canonicalizer = Canonicalizer::for_locale(&self.locale)
            .map_err(|error| Fault::because("--locale", error))?;
        let canonical = canonicalizer
            .text(&json)
            .map_err(|error| Fault::because("the message cannot be signed", error))?;
        let hash = message_sha256(&canonical);
        Ok(Message { client_id: self.client_id, json, canonical, hash, key })
    }
}

impl Message {
    pub(crate) fn payload(&self) -> String {
        message_payload(&self.client_id, &self.hash)
    }

    pub(crate) fn signature(&self) -> HexDigest {
        input::signing_key(&self.key).sign_message(&self.client_id, &self.hash)
    }
}
