//! CPU time and memory of the servers' processes, as the kernel counts them.

use std::time::Duration;

use anyhow::Context;
use procfs::{ProcResult, process::Process};
use tokio::time::{Instant, sleep};

/// The watched processes; there may be none.
pub(crate) struct Machine(Vec<Process>);

/// The CPU time and memory that processes have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// CPU time in microseconds.
    pub(crate) cpu: u64,
    /// Memory in bytes. A page that several processes share counts in parts (PSS).
    pub(crate) memory: u64,
}

impl Machine {
    /// Watches `pids`, which must be processes of this program's account.
    pub(crate) fn new(pids: &[u32]) -> anyhow::Result<Self> {
        let processes = pids.iter().map(|pid| Process::new(i32::try_from(*pid)?).context("no such process"));
        let machine = Self(processes.collect::<anyhow::Result<_>>().context("--server-pid")?);
        machine.usage().context("--server-pid")?;
        Ok(machine)
    }

    /// Whether there is any watched process.
    pub(crate) fn is_watched(&self) -> bool {
        !self.0.is_empty()
    }

    /// What all watched processes have used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let mut memory = 0;
        for process in &self.0 {
            let maps = process.smaps_rollup()?.memory_map_rollup;
            memory += maps.iter().filter_map(|map| map.extension.map.get("Pss")).sum::<u64>();
        }
        Ok(Usage { cpu: self.cpu()?, memory })
    }

    /// Waits until the processes are idle, for two seconds at most.
    pub(crate) async fn wait_for_rest(&self) -> anyhow::Result<()> {
        const STEP: Duration = Duration::from_millis(100);
        let start = Instant::now();
        let mut before = self.cpu()?;
        while self.is_watched() && start.elapsed() < Duration::from_secs(2) {
            sleep(STEP).await;
            let now = self.cpu()?;
            if now - before < STEP.as_micros() as u64 / 50 {
                break;
            }
            before = now;
        }
        Ok(())
    }

    fn cpu(&self) -> ProcResult<u64> {
        self.0.iter().map(cpu).sum()
    }
}

/// The CPU time of a process in microseconds: the sum over its threads' schedstat. /proc/PID/stat counts in ticks of 10 ms,
/// which is too coarse here.
fn cpu(process: &Process) -> ProcResult<u64> {
    // A thread that ends meanwhile is not counted; it has used only a few microseconds.
    let threads = process.tasks()?.filter_map(|task| task.and_then(|task| task.schedstat()).ok());
    Ok(threads.map(|thread| thread.sum_exec_runtime).sum::<u64>() / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process() {
        let me = Machine::new(&[std::process::id()]).unwrap();
        let usage = me.usage().unwrap();
        assert!(usage.cpu > 0 && usage.memory > 100_000, "{usage:?}");
        assert!(Machine::new(&[u32::MAX]).is_err());
        assert!(Machine::new(&[i32::MAX as u32]).is_err());
        assert!(!Machine::new(&[]).unwrap().is_watched());
    }
}
