//! What the servers' processes use, as the kernel counts it.

use std::{fs, time::Duration};

use anyhow::Context;
use tokio::time::{Instant, sleep};

/// The processes that are watched; perhaps none.
pub struct Machine(Vec<u32>);

/// What they have used by now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// CPU time in microseconds.
    pub cpu: u64,
    /// Memory in bytes, pages shared with other processes in parts (PSS).
    pub memory: u64,
}

impl Machine {
    /// Watches `pids`, which must be processes of this user's.
    pub fn new(pids: &[u32]) -> anyhow::Result<Self> {
        let machine = Self(pids.to_vec());
        machine.look().context("--server-pid")?;
        Ok(machine)
    }

    /// Whether there is anything to watch.
    pub fn is_watched(&self) -> bool {
        !self.0.is_empty()
    }

    /// What is used by now.
    pub fn look(&self) -> anyhow::Result<Look> {
        let mut sum = Look::default();
        for pid in &self.0 {
            sum.cpu += cpu(*pid)?;
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = fs::read_to_string(&path).with_context(|| path.clone())?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss line")?;
            sum.memory += line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024;
        }
        Ok(sum)
    }

    /// Waits until the processes rest, two seconds at the most.
    pub async fn settle(&self) -> anyhow::Result<()> {
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

    fn cpu(&self) -> anyhow::Result<u64> {
        self.0.iter().map(|pid| cpu(*pid)).sum()
    }
}

/// The CPU time of a process' threads. Not /proc/PID/stat, which counts in ticks of 10 ms.
fn cpu(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/task");
    let mut nanoseconds = 0;
    for thread in fs::read_dir(&path).with_context(|| format!("{path}: no such process?"))? {
        // A thread that ends meanwhile takes its few microseconds with it.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanoseconds += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanoseconds / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process() {
        let me = Machine::new(&[std::process::id()]).unwrap();
        let look = me.look().unwrap();
        assert!(look.cpu > 0 && look.memory > 100_000);
        assert!(Machine::new(&[u32::MAX]).is_err());
        assert!(!Machine::new(&[]).unwrap().is_watched());
    }
}
