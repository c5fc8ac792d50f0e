//! The flags of the configuration, made from the table.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::Error;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::keys::{self, Fallback, Key};

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigArgs {
    /// The TOML file, if one was named.
    pub(super) file: Option<PathBuf>,
    /// Values by the key's name; for secrets, the path of a file.
    pub(super) flags: BTreeMap<&'static str, String>,
}

const FILE: &str = "config";

impl Args for ConfigArgs {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE)
            .long(FILE)
            .value_name("FILE")
            .env("PROPAGATOR_CONFIG")
            // Not as a path: those cannot be empty, and an empty variable is to count as none.
            .value_parser(clap::value_parser!(OsString))
            .help_heading("Configuration")
            .help("A TOML file; environment and flags go before it");
        keys::ALL.iter().fold(command.arg(file), |command, key| command.arg(flag(key)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// `-h` leaves them out: there are many, and the commands' own options come first.
fn flag(key: &'static Key) -> Arg {
    Arg::new(key.name)
        .long(key.flag())
        .value_name(if key.secret { "FILE" } else { "VALUE" })
        .allow_hyphen_values(false)
        .hide_short_help(true)
        .help_heading(format!("Configuration ({})", key.group.title()))
        .help(help(key))
}

fn help(key: &Key) -> String {
    let what = if key.secret { "; a file with it" } else { "" };
    let variables = if key.secret {
        format!("{} or {}", key.name, key.file_variable())
    } else {
        key.name.to_owned()
    };
    let default = match key.default {
        Fallback::Text("") | Fallback::Required => String::new(),
        Fallback::Text(text) => format!(", default: {text}"),
        Fallback::Otherwise(words) => format!(", default: {words}"),
    };
    let required = if matches!(key.default, Fallback::Required) { ", required" } else { "" };
    format!("{}{what} [env: {variables}{default}{required}]", key.help)
}

impl FromArgMatches for ConfigArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut arguments = Self::default();
        arguments.update_from_arg_matches(matches)?;
        Ok(arguments)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        let file = matches.get_one::<OsString>(FILE).filter(|file| !file.is_empty());
        self.file = file.map(PathBuf::from);
        for key in keys::ALL {
            if let Some(value) = matches.get_one::<String>(key.name) {
                self.flags.insert(key.name, value.clone());
            }
        }
        Ok(())
    }
}
