//! A peer's process, out of an environment and nothing else.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::Result;

/// A peer stops within its own deadline of ten seconds; a busy machine takes a little longer.
const STOP: Duration = Duration::from_secs(20);

/// A running process. It is killed when this is dropped, and by the kernel when this process dies.
pub(crate) struct Process {
    child: Child,
    pid: u32,
}

impl Process {
    /// Starts a program. Everything that it prints goes to the end of the log.
    pub(crate) fn start(
        program: &Path,
        arguments: &[&str],
        environment: &[(String, String)],
        log: &Path,
    ) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for the operator, who then stops the peers in good order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run setpriv (Debian: util-linux): {error}"))?;
        let pid = child.id().unwrap_or_default();
        Ok(Self { child, pid })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended; `None`: it runs.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Stops it with SIGTERM, as systemd and docker do, and says how it ended.
    pub(crate) async fn stop(mut self) -> Result<ExitStatus> {
        let script = format!("kill -TERM {}", self.pid);
        let told = Command::new("/bin/sh").args(["-c", &script]).status().await?;
        if !told.success() {
            return Err("SIGTERM was refused".into());
        }
        let ended = timeout(STOP, self.child.wait()).await;
        Ok(ended.map_err(|_| format!("it did not end within {STOP:?} after SIGTERM"))??)
    }
}

/// A program that cargo builds beside this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let directory = own.parent().ok_or("this program has no directory")?;
    // Tests stand one deeper than what they test.
    let directory = match directory.file_name() {
        Some(last) if last == "deps" => directory.parent().unwrap_or(directory),
        _ => directory,
    };
    let found = directory.join(name);
    if found.is_file() {
        return Ok(found);
    }
    let found = found.display();
    Err(format!("{found} is missing: cargo build --workspace --all-features --bins").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_built_is_named_together_with_how_to_build_it() {
        let error = program("no-such-program").unwrap_err().to_string();
        assert!(error.contains("no-such-program is missing: cargo build"), "{error}");
    }

    #[tokio::test]
    async fn a_stopped_process_says_how_it_ended_and_leaves_its_log() {
        let scratch = hmac_propagator_support::Scratch::new().unwrap();
        let log = scratch.path().join("log");
        let script = "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done";
        let process = Process::start(Path::new("/bin/sh"), &["-c", script], &[], &log).unwrap();
        let read = || std::fs::read_to_string(&log).unwrap();
        assert!(crate::within(STOP, || std::future::ready(read() == "up\n")).await);
        assert_eq!(process.stop().await.unwrap().code(), Some(7));
    }
}
