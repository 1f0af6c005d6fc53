//! The bounds of a hub, where it starts, and what it holds.

use std::time::Duration;

use crate::{
    events::{KindAt, history::HistoryId},
    ids::{CommunityId, EventId},
};

/// The most events of one answer.
pub(crate) const ANSWER_EVENTS: usize = 500;
/// The bytes of events at which an answer ends. An answer with one event may be larger.
pub(crate) const ANSWER_BYTES: usize = 1 << 20;
/// The most events that one answer passes over because its queue does not want them.
pub(crate) const ANSWER_SKIPS: usize = 2_000;
/// The most queues of one user.
pub(crate) const USER_QUEUES: usize = 32;

/// The bounds of a hub.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events kept of one community.
    pub community_events: usize,
    /// Events kept of all communities together.
    pub total_events: usize,
    /// Bytes of the events kept of all communities together. The newest event may exceed them until the next one comes.
    pub total_bytes: usize,
    /// How long a queue lives without a heartbeat.
    pub queue_ttl: Duration,
}

/// The point in the order of events at which a hub starts.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// The history of events that the hub follows.
    pub history: HistoryId,
    /// The event before the hub's first.
    pub head: EventId,
    /// Events up to this one, from the history's base on, are gone for everyone.
    pub floor: EventId,
    /// For each community with older events in this history: the newest of them that is gone.
    pub evicted: Vec<(CommunityId, EventId)>,
    /// The kinds of communities at `head`: of those that anyone may read, and of those that anyone could read before.
    pub kinds: Vec<KindAt>,
}

/// What a hub holds, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Queues.
    pub queues: usize,
    /// Users with queues.
    pub users: usize,
    /// Parked polls.
    pub parked: usize,
    /// Events kept.
    pub events: usize,
    /// Bytes of the events kept.
    pub bytes: usize,
    /// The newest event.
    pub head: EventId,
}
