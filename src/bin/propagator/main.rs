//! The command `propagator`: tools for whoever signs, verifies and runs peers.

#[cfg(feature = "sidecar")]
mod config;
mod explain;
mod fault;
mod hash;
#[cfg(feature = "sidecar")]
mod health;
mod input;
mod message;
#[cfg(feature = "sidecar")]
mod operate;
mod output;
#[cfg(feature = "sidecar")]
mod peer;
mod request;
#[cfg(feature = "sidecar")]
mod serve;
mod sign;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Credentials for services, signed and propagated.
#[derive(Parser)]
#[command(name = "propagator", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sign a request or a message, and show what was signed.
    Sign(sign::Sign),
    /// Turn a client's secret into the hash that is stored and signed with.
    Hash(hash::Hash),
    /// Show how a signature comes about, and where a given one differs.
    Explain(explain::Explain),
    #[cfg(feature = "sidecar")]
    #[command(flatten)]
    Operate(operate::Operate),
    /// Run a peer, with its HTTP side.
    #[cfg(feature = "sidecar")]
    Serve(Box<serve::Serve>),
    /// Ask a running peer how it is: exit code 0 if it can do its work, else 1.
    #[cfg(feature = "sidecar")]
    Health(health::Health),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Sign(sign) => sign.run(),
        Command::Hash(hash) => hash.run(),
        Command::Explain(explain) => explain.run(),
        #[cfg(feature = "sidecar")]
        Command::Operate(operate) => operate.run(<Cli as clap::CommandFactory>::command()),
        #[cfg(feature = "sidecar")]
        Command::Serve(serve) => serve.run(),
        #[cfg(feature = "sidecar")]
        Command::Health(health) => health.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.report(),
    }
}

#[cfg(all(test, feature = "sidecar"))]
mod tests {
    use clap::CommandFactory;

    use super::*;

    const DOCUMENT: &str = include_str!("../../../docs/cli.md");

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_document_names_every_command_and_every_exit_code() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let alone = ["sign", "hash", "explain"].contains(&name);
            let written = if alone { format!("`{name}`") } else { format!("`propagator {name}") };
            assert!(DOCUMENT.contains(&written), "{name}");
        }
        use fault::Exit;
        for exit in [
            Exit::Problems,
            Exit::Usage,
            Exit::Unreachable,
            Exit::Unknown,
            Exit::Refused,
            Exit::Interrupted,
        ] {
            assert!(DOCUMENT.contains(&format!("\n| {} | ", exit as u8)), "{exit:?}");
        }
    }
}
