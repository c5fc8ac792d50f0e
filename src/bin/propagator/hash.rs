//! `propagator hash`

use std::path::PathBuf;

use clap::Args;
use hmac_propagator::auth::hash_secret_text;
use hmac_propagator::secret::SecretToken;
use zeroize::Zeroizing;

use crate::fault::Fault;
use crate::{input, output};

/// Reads the secret from standard input unless told otherwise, exactly as it is, and prints its hash.
#[derive(Args)]
pub(crate) struct Hash {
    /// The pepper of the service that stores the hash.
    #[arg(
        long,
        env = "PROPAGATOR_SECRET_TOKEN",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    token: Option<String>,
    /// A file with the pepper. A line end at its end is not part of it.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A file with the secret, `-` for standard input.
    #[arg(long, value_name = "FILE", default_value = "-")]
    secret_file: PathBuf,
    /// Remove line ends at the end of the secret.
    #[arg(long)]
    trim: bool,
}

impl Hash {
    pub(crate) fn run(self) -> Result<(), Fault> {
        let token_from_stdin = self.token_file.as_deref().is_some_and(input::is_stdin);
        input::only_one_from_stdin(&[token_from_stdin, input::is_stdin(&self.secret_file)])?;
        let token = match &self.token_file {
            Some(file) => Zeroizing::new(input::without_line_end(&input::text(file)?).to_owned()),
            None => Zeroizing::new(self.token.clone().unwrap_or_default()),
        };
        let secret = input::text(&self.secret_file)?;
        let secret = if self.trim { input::without_line_end(&secret) } else { &secret };
        if secret.is_empty() {
            input::warn("the secret is empty");
        } else if secret.len() > input::without_line_end(secret).len() {
            input::warn(
                "the secret ends with a line end, which is hashed too; --trim leaves it out",
            );
        }
        let hash = hash_secret_text(secret, &SecretToken::new(token.as_str()));
        // The hash is as secret as what it was made from; printing it is what was asked for.
        output::line(hash.expose())
    }
}
