//! Where secrets and bodies come from. A secret never has to stand on the command line.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use hmac_propagator::auth::SigningKey;
use zeroize::Zeroizing;

use crate::fault::Fault;

/// The key to sign with.
#[derive(Args)]
pub(crate) struct KeyInput {
    /// The secret hash, as its text. Other processes can see it: prefer the file or the environment.
    #[arg(
        long,
        value_name = "TEXT",
        env = "PROPAGATOR_SECRET_HASH",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    secret_hash: Option<String>,
    /// A file with the secret hash, `-` for standard input. A line end at its end is not part of it.
    #[arg(long, value_name = "FILE")]
    secret_hash_file: Option<PathBuf>,
}

impl KeyInput {
    /// Reads the key text. Warns when it is not what a store would hold.
    pub(crate) fn read(&self) -> Result<Zeroizing<String>, Fault> {
        // The file wins, because the text may come from the environment unasked.
        let key = match (&self.secret_hash_file, &self.secret_hash) {
            (Some(file), _) => Zeroizing::new(without_line_end(&text(file)?).to_owned()),
            (None, Some(given)) => Zeroizing::new(given.clone()),
            (None, None) => {
                let ways = "--secret-hash-file, PROPAGATOR_SECRET_HASH or --secret-hash";
                return Err(Fault::new(format!("the secret hash is missing: use {ways}")));
            }
        };
        if !is_digest(&key) {
            warn("the secret hash is not 64 hexadecimal digits; its text is used as the key");
        } else if key.bytes().any(|b| b.is_ascii_uppercase()) {
            warn("the secret hash has upper-case digits; stores hold it, and sign, in lower case");
        }
        Ok(key)
    }

    /// Whether standard input is taken.
    pub(crate) fn takes_stdin(&self) -> bool {
        self.secret_hash_file.as_deref().is_some_and(is_stdin)
    }
}

/// The key for a text of any kind.
pub(crate) fn signing_key(text: &str) -> SigningKey {
    SigningKey::from_bytes(text.as_bytes())
}

/// All of a file, `-` for standard input.
pub(crate) fn bytes(file: &Path) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = if is_stdin(file) {
        std::io::stdin().lock().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    let name = || if is_stdin(file) { "standard input".into() } else { file.display().to_string() };
    read.map_err(|error| Fault::because(format!("cannot read {}", name()), error))?;
    Ok(bytes)
}

/// A file that must be text.
pub(crate) fn text(file: &Path) -> Result<Zeroizing<String>, Fault> {
    let bytes = bytes(file)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Fault::new("a secret must be UTF-8 text")),
    }
}

/// Without the line ends at the end.
pub(crate) fn without_line_end(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

pub(crate) fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

pub(crate) fn only_one_from_stdin(takers: &[bool]) -> Result<(), Fault> {
    if takers.iter().filter(|takes| **takes).count() > 1 {
        return Err(Fault::new("only one thing can come from standard input"));
    }
    Ok(())
}

/// Whether it has the form of every hash and every signature.
pub(crate) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

pub(crate) fn warn(text: &str) {
    // A warning that nobody can read changes nothing.
    let _ = writeln!(std::io::stderr(), "propagator: warning: {text}");
}
