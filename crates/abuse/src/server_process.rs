//! Memory and open files of the server, as the kernel counts them.

use anyhow::{Context, Result};
use procfs::process::Process;

/// The process that is attacked.
#[derive(Clone, Debug)]
pub(crate) struct ServerProcess(i32);

impl ServerProcess {
    pub(crate) fn new(pid: &str) -> Result<Self> {
        Ok(Self(pid.parse()?))
    }

    /// Resident memory in bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = Process::new(self.0)?.status().context("the server has ended")?;
        Ok(status.vmrss.context("the kernel does not say how much memory it has")? * 1024)
    }

    /// Files and sockets that are open.
    pub(crate) fn open_files(&self) -> Result<usize> {
        Ok(Process::new(self.0)?.fd_count()?)
    }
}
