//! The kinds of faults.

use clap::ValueEnum;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    NodeKilled,
    LeaderKilled,
    NodePaused,
    LeaderPaused,
    RedisKilled,
    RedisFlushed,
    RedisPaused,
    RedisCut,
    RedisSilent,
    PostgresKilled,
    PostgresRestarted,
    PostgresPaused,
    PostgresSilent,
    FailedOver,
    HungUp,
}

impl Kind {
    /// The words for the report and the log.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::NodeKilled => "a node, kill -9",
            Self::LeaderKilled => "the relay's leader, kill -9",
            Self::NodePaused => "a node paused (SIGSTOP)",
            Self::LeaderPaused => "the relay's leader paused (SIGSTOP)",
            Self::RedisKilled => "Redis, kill -9 (comes back empty)",
            Self::RedisFlushed => "Redis, FLUSHALL",
            Self::RedisPaused => "Redis paused (SIGSTOP)",
            Self::RedisCut => "a node cut off from Redis, connections closed",
            Self::RedisSilent => "a node cut off from Redis, packets lost",
            Self::PostgresKilled => "PostgreSQL, kill -9 of the postmaster",
            Self::PostgresRestarted => "PostgreSQL, restarted (fast shutdown)",
            Self::PostgresPaused => "PostgreSQL paused (SIGSTOP, all processes)",
            Self::PostgresSilent => "a node cut off from PostgreSQL, packets lost",
            Self::FailedOver => "PostgreSQL, failover to an asynchronous replica with a loss",
            Self::HungUp => "clients that hang up in the middle of writes",
        }
    }

    /// The shortest and the longest duration in milliseconds.
    pub(crate) fn lasts(self) -> (u64, u64) {
        match self {
            Self::RedisFlushed => (0, 1),
            Self::NodeKilled | Self::LeaderKilled => (200, 3_000),
            Self::NodePaused | Self::LeaderPaused => (1_000, 6_000),
            Self::RedisKilled | Self::RedisPaused | Self::RedisCut | Self::RedisSilent => (200, 5_000),
            Self::PostgresKilled | Self::PostgresRestarted => (0, 2_000),
            Self::PostgresPaused => (500, 4_000),
            Self::PostgresSilent => (200, 5_000),
            // The time between the end of replication and the death of the primary.
            Self::FailedOver => (500, 2_000),
            Self::HungUp => (1_500, 3_000),
        }
    }

    /// Whether PostgreSQL is down, so that the fault ends when it accepts connections again.
    pub(crate) fn ends_with_postgres(self) -> bool {
        matches!(self, Self::PostgresKilled | Self::PostgresRestarted | Self::FailedOver)
    }
}
