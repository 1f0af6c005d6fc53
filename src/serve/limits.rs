//! How long clients may take, and how many may be connected.

use std::time::Duration;

use crate::config::Config;

/// Open files that are not connections of clients: logs, pages, listeners, Redis, and the database connections of the background.
const OTHER_FILES: u64 = 64;

/// How long clients may take, and how many may be connected.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// From the beginning of a connection to its first whole request.
    pub first_request: Duration,
    /// From an answer to the next whole request.
    pub request: Duration,
    /// Without reading anything of an answer.
    pub write: Duration,
    /// The most connections that are open at a time.
    pub connections: usize,
}

impl ConnectionLimits {
    /// The limits that `config` sets. This process may open `open_files` files.
    pub fn new(config: &Config, open_files: u64) -> Self {
        let kept = (OTHER_FILES + u64::from(config.database_connections)).min(open_files / 2);
        let possible = usize::try_from(open_files - kept).unwrap_or(usize::MAX);
        let idle = Duration::from_secs(config.idle_connection_seconds);
        Self {
            first_request: Duration::from_secs(config.first_request_seconds).min(idle),
            request: idle,
            write: Duration::from_secs(config.write_timeout_seconds),
            connections: config.max_connections.map_or(possible, |most| possible.min(most as usize)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn the_server_keeps_files_for_itself() {
        let limits = |open_files, more: &[&str]| {
            let arguments = ["test", "--database-url", "postgres://localhost"].iter().chain(more);
            ConnectionLimits::new(&Cli::parse_from(arguments).config, open_files)
        };
        assert_eq!(limits(1_024, &[]).connections, 1_024 - 64 - 20);
        assert_eq!(limits(1_024, &["--max-connections", "100"]).connections, 100);
        assert_eq!(limits(1_024, &["--max-connections", "5000"]).connections, 1_024 - 64 - 20);
        assert_eq!(limits(100, &[]).connections, 50, "few files are shared");
        assert_eq!(limits(1_024, &[]).first_request, Duration::from_secs(10));
        let short = limits(1_024, &["--idle-connection-seconds", "5"]);
        assert_eq!((short.first_request, short.request), (Duration::from_secs(5), Duration::from_secs(5)));
    }
}
