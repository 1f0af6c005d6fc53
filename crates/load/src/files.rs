//! The limit of open files: each connection takes one.

use anyhow::Context;

/// Open files that are no connections: the runtimes' own, standard streams, the database.
const SPARE: u64 = 64;

/// Raises this process' limit so that `connections` fit. An error that says what to do where the system does not let it.
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
         Where that is not possible, run several at once, each with --queues {} and a --slot and a node of its own.",
        reached.saturating_sub(SPARE + 100) / 1_000 * 1_000
    );
    Ok(())
}
