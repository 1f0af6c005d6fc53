//! Runs servers and load generators as child processes that never outlive this program.

use std::{
    ffi::OsStr,
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// The pause between two checks of a condition.
const PAUSE: Duration = Duration::from_millis(50);

/// A command whose process the kernel ends when this program ends for any reason.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command
}

/// Opens a file to append output to it.
pub fn append(path: &Path) -> anyhow::Result<Stdio> {
    let file = File::options().create(true).append(true).open(path);
    Ok(file.with_context(|| path.display().to_string())?.into())
}

/// Runs a command to its end and returns its standard output.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("{command:?}"))?;
    anyhow::ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Waits until `condition` is true.
pub fn wait_until(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let start = Instant::now();
    while !condition()? {
        if start.elapsed() >= limit {
            bail!("{what}: not after {} s", limit.as_secs());
        }
        sleep(PAUSE);
    }
    Ok(())
}

/// A running process. Drop sends it SIGTERM, and kills it if it does not end.
pub struct Process(Child);

impl Process {
    /// Starts `command`.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        Ok(Self(command.spawn().with_context(|| format!("{command:?}"))?))
    }

    /// Its process id.
    pub fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }

    /// Waits until the process ends. Fails if the process failed.
    pub fn succeed(mut self) -> anyhow::Result<()> {
        let status = self.0.wait()?;
        anyhow::ensure!(status.success(), "{status}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Ok(None) = self.0.try_wait() else { return };
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let ended = wait_until("a process ends", Duration::from_secs(15), || Ok(self.0.try_wait()?.is_some()));
        if ended.is_err() {
            eprintln!("warning: process {} did not end within 15 s: killing it", self.0.id());
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}
