//! The limit of open files. Each connection takes one.

use anyhow::Context;

/// Open files that are not connections to servers: those of the runtimes, the standard streams, the database.
const SPARE: u64 = 64;

/// Raises this process' limit so that `connections` fit. If the system does not allow that, the error says what to do.
pub(crate) fn allow(connections: u32) -> anyhow::Result<()> {
    let wanted = u64::from(connections) + SPARE;
    let (_, hard) = rlimit::Resource::NOFILE.get().context("cannot read the limit of open files")?;
    let reached = rlimit::increase_nofile_limit(wanted.max(hard)).unwrap_or(hard);
    anyhow::ensure!(
        reached >= wanted,
        "{connections} connections need {wanted} open files, and a process may open {reached} here.\n\
         Raise the limit and start again from a new shell, for this program and for the servers:\n  \
         as root: `ulimit -Hn {wanted} && ulimit -n {wanted}`; for good: `* hard nofile {wanted}` in \
         /etc/security/limits.conf, or LimitNOFILE= in a systemd unit;\n  \
         in Docker: --ulimit nofile={wanted}.\n\
         If that is not possible, run several at once, each with --queues {}, its own --slot and its own node.",
        reached.saturating_sub(SPARE + 100) / 1_000 * 1_000
    );
    Ok(())
}
