//! A request to sign, from the command line.

use std::path::PathBuf;

use clap::Args;
use hmac_propagator::auth::{
    CanonicalPath, HexDigest, RequestToSign, body_sha256, body_sha256_lossy, generate_nonce,
    parse_timestamp,
};
use hmac_propagator::clock::{Clock, SystemClock};
use zeroize::Zeroizing;

use crate::fault::Fault;
use crate::input::{self, KeyInput};

#[derive(Args)]
pub(crate) struct RequestArgs {
    /// The method, for example POST.
    #[arg(long, allow_hyphen_values = true)]
    method: String,
    /// Path and query, as they are sent.
    #[arg(long, allow_hyphen_values = true)]
    path: String,
    /// Milliseconds since the epoch. Default: now.
    #[arg(long, value_name = "MS")]
    timestamp: Option<String>,
    /// Default: a random one.
    #[arg(long, allow_hyphen_values = true)]
    nonce: Option<String>,
    /// The body, `-` for standard input. Default: none.
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// Digest the body as deployed Node verifiers do: after replacing what is not UTF-8.
    #[arg(long)]
    lossy_body: bool,
    /// Who signs; only used for the header x-client-id.
    #[arg(long, allow_hyphen_values = true)]
    client_id: Option<String>,
    #[command(flatten)]
    key: KeyInput,
}

/// A request with everything that its signature needs.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) path: CanonicalPath<'static>,
    pub(crate) timestamp_ms: u64,
    pub(crate) nonce: String,
    pub(crate) body: Zeroizing<Vec<u8>>,
    pub(crate) digest: HexDigest,
    pub(crate) client_id: Option<String>,
    pub(crate) key: Zeroizing<String>,
}

impl RequestArgs {
    /// Whether nothing is left to the clock and to chance.
    pub(crate) fn is_complete(&self) -> bool {
        self.timestamp.is_some() && self.nonce.is_some()
    }

    pub(crate) fn read(self, stdin_taken: bool) -> Result<Request, Fault> {
        let body_from_stdin = self.body_file.as_deref().is_some_and(input::is_stdin);
        input::only_one_from_stdin(&[stdin_taken, body_from_stdin, self.key.takes_stdin()])?;
        let path = CanonicalPath::new(&self.path)
            .map_err(|error| Fault::because("--path cannot be signed", error))?
            .into_owned();
        let timestamp_ms = match &self.timestamp {
            None => SystemClock.now_ms(),
            Some(text) => parse_timestamp(text).ok_or_else(|| {
                Fault::new("--timestamp must be decimal milliseconds, digits only")
            })?,
        };
        let key = self.key.read()?;
        let body = self.body_file.as_deref().map(input::bytes).transpose()?.unwrap_or_default();
        let digest = if self.lossy_body { body_sha256_lossy(&body) } else { body_sha256(&body) };
        Ok(Request {
            method: self.method,
            target: self.path,
            path,
            timestamp_ms,
            nonce: self.nonce.unwrap_or_else(generate_nonce),
            body,
            digest,
            client_id: self.client_id,
            key,
        })
    }
}

impl Request {
    pub(crate) fn to_sign(&self) -> RequestToSign<'_> {
        RequestToSign {
            method: &self.method,
            path: &self.path,
            timestamp_ms: self.timestamp_ms,
            nonce: &self.nonce,
            body: &self.digest,
        }
    }

    pub(crate) fn signature(&self) -> HexDigest {
        input::signing_key(&self.key).sign_request(&self.to_sign())
    }
}
