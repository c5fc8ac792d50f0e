//! What operators do from the command line, against database and broker directly.

mod audit;
mod doctor;
mod driver;
mod due;
mod encrypt;
mod ensure;
mod failure;
mod follow;
mod operator;
mod progress;
mod refused;
mod report;
mod revoke;
mod rotate;
mod secret;
mod show;
mod status;
mod sync;
mod table;
mod targets;

use clap::{Args, Subcommand};
use clap_complete::Shell;

use crate::config::ConfigArgs;
use crate::fault::Fault;

#[derive(Subcommand)]
pub(crate) enum Operate {
    /// Create a credential, or give an existing one a new secret, more targets or restrictions.
    Ensure(Box<ensure::Ensure>),
    /// Give a credential, or all that are due, a new secret.
    Rotate(Box<rotate::Rotate>),
    /// Remove a credential here and at all its targets.
    Revoke(Box<revoke::Revoke>),
    /// Send what is open to its targets: what cron calls.
    Sync(Box<sync::Sync>),
    /// Show credentials and where each of their targets stands.
    Status(Box<status::Status>),
    /// The directory of targets, and single rows that need help.
    Targets(Box<targets::Targets>),
    /// Show who did what, or verify that nothing of it was changed.
    Audit(Box<audit::Audit>),
    /// Show credentials that are to get a new secret.
    Due(Box<due::Due>),
    /// Show messages that this peer refused.
    Refused(Box<refused::Refused>),
    /// Say why something is stuck, and what to do.
    Doctor(Box<doctor::Doctor>),
    /// Encrypt what stands in the database under the configured key.
    Encrypt(Box<encrypt::Encrypt>),
    /// Print the completions of a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// What all of these commands take.
#[derive(Args)]
pub(crate) struct Common {
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Operate {
    /// `whole`: the command line, for completions.
    pub(crate) fn run(self, whole: clap::Command) -> Result<(), Fault> {
        match self {
            Self::Ensure(ensure) => block_on(ensure.run()),
            Self::Rotate(rotate) => block_on(rotate.run()),
            Self::Revoke(revoke) => block_on(revoke.run()),
            Self::Sync(sync) => block_on(sync.run()),
            Self::Status(status) => block_on(status.run()),
            Self::Targets(targets) => block_on(targets.run()),
            Self::Audit(audit) => block_on(audit.run()),
            Self::Due(due) => block_on(due.run()),
            Self::Refused(refused) => block_on(refused.run()),
            Self::Doctor(doctor) => block_on(doctor.run()),
            Self::Encrypt(encrypt) => block_on(encrypt.run()),
            Self::Completions { shell } => completions(shell, whole),
        }
    }
}

fn block_on(work: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Fault::because("cannot start the runtime", error))?;
    let done = runtime.block_on(work);
    // A connection attempt that hangs must not keep the command from ending.
    runtime.shutdown_background();
    done
}

fn completions(shell: Shell, mut whole: clap::Command) -> Result<(), Fault> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut whole, "propagator", &mut script);
    crate::output::line(String::from_utf8_lossy(&script).trim_end())
}
