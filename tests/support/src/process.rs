//! Child processes that never outlive their owner.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::{Context, Error, Result};
use crate::wait::poll;

/// A program to start: a clean environment, no input, all output in a file.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) directory: PathBuf,
    pub(crate) output: PathBuf,
    /// As an ordinary user, also when root runs the tests: some servers refuse to run as root.
    pub(crate) unprivileged: bool,
    /// A signal that lets it clean up behind itself, for what outlives a process.
    pub(crate) farewell: Option<&'static str>,
}

/// A running child. It is killed when it is dropped, and by the kernel when this process dies.
pub(crate) struct Process {
    child: Option<Child>,
    pid: u32,
    output: PathBuf,
    farewell: Option<&'static str>,
}

impl Process {
    pub(crate) async fn start(program: &Program) -> Result<Self> {
        let name = program.path.display();
        let command = tied_to_this_process(program).context(format_args!("cannot log {name}"))?;
        let child = spawn(command).await.context(format_args!(
            "cannot start {name} through setpriv (Debian package util-linux)"
        ))?;
        Ok(Self {
            pid: child.id(),
            child: Some(child),
            output: program.output.clone(),
            farewell: program.farewell,
        })
    }

    /// Starts a program that does one thing, and waits until it has ended well.
    pub(crate) async fn run(program: &Program, within: Duration) -> Result<()> {
        let mut process = Self::start(program).await?;
        let ended = poll(within, || {
            let child = process.child.as_mut();
            let status = child.and_then(|child| child.try_wait().ok().flatten());
            std::future::ready(status)
        });
        match ended.await {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(process.failure(&format!("it ended with {status}"))),
            None => Err(process.failure(&format!("it did not end within {within:?}"))),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The processes that it has started.
    pub(crate) fn children(&self) -> Vec<u32> {
        let list = format!("/proc/{0}/task/{0}/children", self.pid);
        let list = fs::read_to_string(list).unwrap_or_default();
        list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Ends it with SIGKILL and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let waiting = tokio::task::spawn_blocking(move || child.kill().and_then(|()| child.wait()));
        waiting.await.context("cannot wait")?.context("cannot kill")?;
        Ok(())
    }

    /// Ends it with SIGTERM and waits until it has shut down.
    pub(crate) async fn terminate(mut self, deadline: Duration) -> Result<()> {
        self.signal("TERM").await?;
        let gone = poll(deadline, || std::future::ready(self.has_exited().then_some(()))).await;
        gone.ok_or_else(|| Error::new(format!("no end {deadline:?} after SIGTERM")))
    }

    /// Stops it with SIGSTOP: its sockets stay open and nothing answers.
    pub(crate) async fn pause(&self) -> Result<()> {
        self.signal("STOP").await?;
        self.wait_for_state(|state| state == "T").await
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub(crate) async fn resume(&self) -> Result<()> {
        self.signal("CONT").await?;
        self.wait_for_state(|state| state != "T").await
    }

    /// Waits until `probe` returns true; an early end of the process is an error with its output.
    pub(crate) async fn wait_until_ready<F, Fut>(
        &mut self,
        within: Duration,
        probe: F,
    ) -> Result<()>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = bool>,
    {
        let ready = poll(within, || {
            let exited = self.has_exited();
            let probing = probe();
            async move { if exited { Some(false) } else { probing.await.then_some(true) } }
        });
        match ready.await {
            Some(true) => Ok(()),
            Some(false) => Err(self.failure("it ended at once")),
            None => Err(self.failure(&format!("it was not ready within {within:?}"))),
        }
    }

    fn has_exited(&mut self) -> bool {
        match &mut self.child {
            Some(child) => !matches!(child.try_wait(), Ok(None)),
            None => true,
        }
    }

    fn failure(&self, what: &str) -> Error {
        let output = fs::read_to_string(&self.output).unwrap_or_default();
        let lines: Vec<&str> = output.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        Error::new(format!("{what}; the end of its output:\n{tail}"))
    }

    /// The shell's own `kill` is there on every machine; a program of that name may not be.
    async fn signal(&self, signal: &str) -> Result<()> {
        let script = format!("kill -{signal} {}", self.pid);
        let status = tokio::process::Command::new("/bin/sh").args(["-c", &script]).status().await;
        match status.context("cannot run the shell")?.success() {
            true => Ok(()),
            false => Err(Error::new(format!("SIG{signal} was refused"))),
        }
    }

    /// A signal is sent before it has taken effect: a test that pauses a server must not see one
    /// more answer.
    async fn wait_for_state(&self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let status = PathBuf::from(format!("/proc/{}/status", self.pid));
        let reached = poll(Duration::from_secs(5), || {
            let state = state_of(&status);
            std::future::ready(state.is_some_and(|state| wanted(&state)).then_some(()))
        });
        reached.await.ok_or_else(|| Error::new("the process did not stop or go on"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            if let Some(signal) = self.farewell {
                let script = format!("kill -{signal} {}", self.pid);
                let _ = Command::new("/bin/sh").args(["-c", &script]).status();
                for _ in 0..200 {
                    if !matches!(child.try_wait(), Ok(None)) {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            // Either it is gone already, or SIGKILL ends it; there is nobody to tell.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until processes that nobody here has started have ended, be it that nobody has taken note of it.
pub(crate) async fn wait_for_end(pids: &[u32], within: Duration) -> Result<()> {
    let has_ended = |pid: &u32| {
        let state = state_of(&PathBuf::from(format!("/proc/{pid}/status")));
        state.is_none_or(|state| state == "Z" || state == "X")
    };
    let ended = poll(within, || std::future::ready(pids.iter().all(has_ended).then_some(())));
    ended.await.ok_or_else(|| Error::new(format!("not all of {pids:?} ended within {within:?}")))
}

/// Finds `name` in `directories` and then in `PATH`.
pub(crate) fn find(name: &str, directories: &[&str], package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let searched = directories.iter().map(PathBuf::from).chain(std::env::split_paths(&path));
    searched.map(|directory| directory.join(name)).find(|file| file.is_file()).ok_or_else(|| {
        Error::new(format!("{name} is not installed; on Debian: apt-get install {package}"))
    })
}

/// The state letter of a process, such as `S` or `T`.
fn state_of(status: &Path) -> Option<String> {
    let text = fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("State:"))?;
    line.split_whitespace().next().map(str::to_owned)
}

/// `setpriv` asks the kernel to send SIGKILL when the thread that started it ends. It does so only
/// after it was started, so the shell then looks whether its parent had died before that. Both
/// replace themselves, which keeps the process id.
fn tied_to_this_process(program: &Program) -> io::Result<Command> {
    let output = File::options().create(true).append(true).open(&program.output)?;
    let mut command = Command::new("setpriv");
    if program.unprivileged && is_root()? {
        command.args(["--reuid", NOBODY_ARGUMENT, "--regid", NOBODY_ARGUMENT, "--clear-groups"]);
    }
    command
        .args(["--pdeathsig", "KILL", "--", "/bin/sh", "-c"])
        .arg(r#"[ "$PPID" = "$0" ] || exit 1; exec "$@""#)
        .arg(std::process::id().to_string())
        .arg(&program.path)
        .args(&program.arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LANG", "C.UTF-8")
        .envs(program.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&program.directory)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        // A signal from the terminal is for the test, which then ends its servers.
        .process_group(0);
    Ok(command)
}

/// The user that owns nothing.
const NOBODY: u32 = 65534;
const NOBODY_ARGUMENT: &str = "65534";

/// Gives a file or directory to the user that unprivileged programs run as.
pub(crate) fn give_away(path: &Path) -> Result<()> {
    if !is_root().context("cannot tell the user")? {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY))
        .context(format_args!("cannot give {} away", path.display()))
}

/// The owner of what this process creates.
fn is_root() -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

struct Spawn {
    command: Command,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// The kernel's "parent" is the thread that forked, so a worker of a runtime that is shut down
/// would take the servers with it. This thread lives as long as the process.
static SPAWNER: LazyLock<io::Result<SyncSender<Spawn>>> = LazyLock::new(|| {
    let (sender, requests) = sync_channel::<Spawn>(16);
    std::thread::Builder::new().name("spawner".into()).spawn(move || {
        for Spawn { mut command, reply } in requests {
            if let Err(Ok(mut abandoned)) = reply.send(command.spawn()) {
                // The test gave up meanwhile, so nobody owns this child.
                let _ = abandoned.kill();
                let _ = abandoned.wait();
            }
        }
    })?;
    Ok(sender)
});

async fn spawn(command: Command) -> io::Result<Child> {
    let spawner =
        SPAWNER.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    let (reply, answer) = oneshot::channel();
    spawner.send(Spawn { command, reply }).map_err(io::Error::other)?;
    answer.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn shell(scratch: &Scratch, script: &str) -> Program {
        Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: Vec::new(),
            directory: scratch.path().to_owned(),
            output: scratch.path().join("output"),
            unprivileged: false,
            farewell: None,
        }
    }

    #[test]
    fn a_child_survives_the_runtime_that_started_it_and_dies_with_its_owner() {
        let scratch = Scratch::new().unwrap();
        let program = shell(&scratch, "exec sleep 600");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let started = runtime.block_on(async {
            tokio::spawn(async move { Process::start(&program).await.unwrap() }).await.unwrap()
        });
        drop(runtime);
        let status = PathBuf::from(format!("/proc/{}/status", started.pid()));
        assert!(status.exists());
        drop(started);
        assert!(!status.exists());
    }

    #[tokio::test]
    async fn a_child_that_ends_early_fails_with_its_output() {
        let scratch = Scratch::new().unwrap();
        let mut process = Process::start(&shell(&scratch, "echo why; exit 3")).await.unwrap();
        let waited = process.wait_until_ready(Duration::from_secs(10), || async { false }).await;
        assert!(waited.unwrap_err().to_string().contains("why"));
    }

    #[tokio::test]
    async fn a_paused_child_does_nothing_until_it_is_resumed() {
        let scratch = Scratch::new().unwrap();
        let process = Process::start(&shell(&scratch, "while :; do :; done")).await.unwrap();
        let status = PathBuf::from(format!("/proc/{}/status", process.pid()));
        process.pause().await.unwrap();
        assert_eq!(state_of(&status).as_deref(), Some("T"));
        process.resume().await.unwrap();
        assert_eq!(state_of(&status).as_deref(), Some("R"));
    }

    #[test]
    fn a_missing_server_names_its_package() {
        let error = find("no-such-server", &[], "the-package").unwrap_err();
        assert!(error.to_string().contains("apt-get install the-package"));
    }
}
