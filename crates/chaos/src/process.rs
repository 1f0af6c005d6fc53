//! The processes that a run starts, pauses and ends.
//!
//! When the run ends for any reason, the kernel kills these processes. The shell that pauses a process also continues it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// The folder of the repository. Its scripts start the services.
pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A private service that a script of this repository runs.
pub(crate) struct Service {
    script: PathBuf,
    pub dir: PathBuf,
    child: Option<Child>,
    pub url: String,
    pub addr: SocketAddr,
    paused_until: Option<Instant>,
}

impl Service {
    /// Prepares the service of `scripts/<script>.sh`, in its own folder below `dir`.
    pub(crate) async fn prepare(script: &str, dir: &Path) -> Result<Self> {
        let path = repository().join(format!("scripts/{script}.sh"));
        let dir = dir.join(script);
        let output = Command::new(&path).arg("prepare").arg(&dir).output().await?;
        ensure!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        Self::at(script, dir)
    }

    /// A service that is already prepared in `dir`.
    pub(crate) fn at(script: &str, dir: PathBuf) -> Result<Self> {
        let script = repository().join(format!("scripts/{script}.sh"));
        let url = fs::read_to_string(dir.join("url"))?.trim().to_owned();
        let port: u16 = fs::read_to_string(dir.join("port"))?.trim().parse()?;
        Ok(Self { script, dir, child: None, url, addr: ([127, 0, 0, 1], port).into(), paused_until: None })
    }

    /// Starts the service. Does not wait until it answers.
    pub(crate) fn start(&mut self) -> Result<()> {
        let mut command = Command::new(&self.script);
        command.arg("run").arg(&self.dir).stdin(Stdio::null()).kill_on_drop(true);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Whether its process runs. It may be starting or paused.
    pub(crate) fn runs(&mut self) -> Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    pub(crate) fn is_whole(&mut self) -> Result<bool> {
        Ok(self.runs()? && self.paused_until.is_none_or(|until| until < Instant::now()))
    }

    /// Sends `signal` and waits until the process has ended.
    pub(crate) async fn end(&mut self, signal: &str) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        end(&mut child, signal).await
    }

    /// Pauses the process and its children, and continues them after `pause`.
    pub(crate) fn pause(&mut self, pause: Duration) -> Result<()> {
        let pid = self.child.as_ref().and_then(Child::id).context("it does not run")?;
        let mut pids = vec![pid];
        pids.extend(children(pid));
        pause_all(&pids, pause)?;
        self.paused_until = Some(Instant::now() + pause);
        Ok(())
    }
}

pub(crate) async fn end(child: &mut Child, signal: &str) -> Result<()> {
    if let Some(pid) = child.id() {
        shell(&format!("kill -{signal} {pid}"))?.wait().await?;
    }
    timeout(Duration::from_secs(20), child.wait())
        .await
        .with_context(|| format!("did not end after SIG{signal}"))??;
    Ok(())
}

pub(crate) fn pause_all(pids: &[u32], pause: Duration) -> Result<()> {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let pids = pids.join(" ");
    let mut paused = shell(&format!("kill -STOP {pids}; sleep {}; kill -CONT {pids}", pause.as_secs_f64()))?;
    tokio::spawn(async move { paused.wait().await });
    Ok(())
}

/// This shell is not killed on drop, because it must continue the paused process.
fn shell(script: &str) -> Result<Child> {
    Ok(Command::new("sh").args(["-c", script]).stderr(Stdio::null()).spawn()?)
}

fn children(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // The name of a process may contain anything. It ends at the last bracket.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default();
        if fields.split_whitespace().nth(1) == Some(&parent.to_string()) {
            found.push(pid);
        }
    }
    found
}
