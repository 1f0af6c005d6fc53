//! The log of a community: its newest events, shared by all its queues.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::ids::EventId;

/// An event in a log: the JSON that every reader gets, serialised once.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place in the order.
    pub event_id: EventId,
    /// The event as clients get it.
    pub json: Bytes,
}

/// Events in ascending order, the oldest of which may have been evicted.
#[derive(Debug, Default)]
pub struct Log {
    entries: VecDeque<Entry>,
    evicted_through: EventId,
}

impl Log {
    /// An empty log, of whose past everything through this event is gone.
    pub fn evicted_through(evicted_through: EventId) -> Self {
        Self { entries: VecDeque::new(), evicted_through }
    }

    /// Adds the newest event.
    pub fn push(&mut self, entry: Entry) {
        debug_assert!(self.entries.back().is_none_or(|last| last.event_id < entry.event_id));
        self.entries.push_back(entry);
    }

    /// Drops the oldest event and returns its size in bytes.
    pub fn evict(&mut self) -> usize {
        let Some(entry) = self.entries.pop_front() else { return 0 };
        self.evicted_through = entry.event_id;
        // A log that was once busy should not stay large.
        if self.entries.len() * 4 < self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        entry.json.len()
    }

    /// How many events it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The oldest event it holds.
    pub fn oldest(&self) -> Option<EventId> {
        self.entries.front().map(|entry| entry.event_id)
    }

    /// Whether an event after `cursor` is gone: exact, since what is gone is everything up to one event, which is gone.
    pub fn lost_after(&self, cursor: EventId) -> bool {
        self.evicted_through > cursor
    }

    /// The events after `after` and before `before`, oldest first.
    pub fn between(&self, after: EventId, before: EventId) -> impl Iterator<Item = &Entry> {
        let start = self.entries.partition_point(|entry| entry.event_id <= after);
        self.entries.range(start..).take_while(move |entry| entry.event_id < before)
    }
}
