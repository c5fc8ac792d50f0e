//! Where the secrets of clients and targets come from: a file, standard input, the environment, or
//! they are made here. Never the command line, which other users of the machine can read.

use std::path::PathBuf;

use clap::Args;
use hmac_propagator::credentials::{GeneratedSecret, SecretLength};
use hmac_propagator::secret::{ClientSecret, PropagationSecret};
use zeroize::Zeroizing;

use crate::fault::Fault;
use crate::input;

/// A client's new secret.
#[derive(Args)]
pub(super) struct NewSecret {
    /// A file with the secret, `-` for standard input; a line end at its end is not part of it.
    /// Otherwise the variable CLIENT_SECRET; otherwise it is generated and printed once.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    generate: Generate,
}

/// How a secret is made.
#[derive(Args)]
struct Generate {
    /// How many random bytes a generated secret has, 16 to 128. Default: 32.
    #[arg(long, value_name = "BYTES", value_parser = length)]
    secret_bytes: Option<SecretLength>,
    /// Do not print a generated secret: where peers sign from their own stores, nobody needs it.
    #[arg(long)]
    hide_secret: bool,
}

/// A secret, and what may be shown of it.
pub(super) struct Chosen {
    pub(super) secret: ClientSecret,
    /// Set for one that was made here and is to be printed.
    pub(super) shown: Option<ClientSecret>,
}

impl NewSecret {
    pub(super) fn choose(&self) -> Result<Chosen, Fault> {
        let given = match &self.secret_file {
            Some(file) => {
                Some(Zeroizing::new(input::without_line_end(&input::text(file)?).to_owned()))
            }
            None => variable("CLIENT_SECRET"),
        };
        match given {
            None => self.generate.make(),
            Some(given) => {
                let secret = ClientSecret::new(given.as_str())
                    .map_err(|error| Fault::because("cannot use the given secret", error))?;
                Ok(Chosen { secret, shown: None })
            }
        }
    }

    /// One that is made, whatever else is given.
    pub(super) fn generated(&self) -> Result<Chosen, Fault> {
        self.generate.make()
    }
}

impl Generate {
    fn make(&self) -> Result<Chosen, Fault> {
        let secret = GeneratedSecret::generate(self.secret_bytes.unwrap_or_default())
            .map_err(|error| Fault::because("cannot make a secret", error))?
            .reveal();
        Ok(Chosen { shown: (!self.hide_secret).then(|| secret.clone()), secret })
    }
}

/// The secret of a target, from a file or the variable TARGET_SECRET.
pub(super) fn of_target(file: Option<&PathBuf>) -> Result<Option<PropagationSecret>, Fault> {
    let given = match file {
        Some(file) => Some(Zeroizing::new(input::without_line_end(&input::text(file)?).to_owned())),
        None => variable("TARGET_SECRET"),
    };
    let secret = given.map(|given| PropagationSecret::new(given.as_str()));
    secret.transpose().map_err(|error| Fault::because("cannot use the target's secret", error))
}

fn variable(name: &str) -> Option<Zeroizing<String>> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(Zeroizing::new)
}

fn length(text: &str) -> Result<SecretLength, String> {
    let bytes = text.parse().map_err(|_| "expected 16 to 128".to_owned())?;
    SecretLength::bytes(bytes).map_err(|error| error.to_string())
}
