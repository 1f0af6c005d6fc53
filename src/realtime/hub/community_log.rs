//! The log of one community: its newest events, shared by all its queues.

use std::collections::{VecDeque, vec_deque};

use bytes::Bytes;

use crate::{
    events::{
        Subject,
        redaction::{Deletion, Shown},
    },
    ids::EventId,
};

/// An event in a log.
#[derive(Clone, Debug)]
pub(super) struct LogEntry {
    pub(super) event_id: EventId,
    /// The event as clients get it, serialised once for all readers.
    pub(super) json: Bytes,
    /// What it is about.
    pub(super) subject: Subject,
    /// The discussion or comment that it shows. None where it shows none, or shows it no more.
    pub(super) shown: Option<Shown>,
}

/// Events in ascending order. The oldest may be gone.
#[derive(Debug, Default)]
pub(super) struct CommunityLog {
    entries: VecDeque<LogEntry>,
    /// The bytes of the events.
    bytes: usize,
    /// The newest event that is gone. All older ones are gone too.
    evicted_through: EventId,
}

impl CommunityLog {
    /// An empty log whose events up to this one are gone.
    pub(super) fn evicted_through(evicted_through: EventId) -> Self {
        Self { evicted_through, ..Self::default() }
    }

    pub(super) fn push(&mut self, entry: LogEntry) {
        debug_assert!(self.entries.back().is_none_or(|last| last.event_id < entry.event_id));
        self.bytes += entry.json.len();
        self.entries.push_back(entry);
    }

    /// Drops the oldest event.
    pub(super) fn evict(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.bytes -= entry.json.len();
        self.evicted_through = entry.event_id;
        // A log that was busy once should not stay large.
        if self.entries.len() * 4 < self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Redacts the events that show what the deletion deletes.
    pub(super) fn redact(&mut self, deletion: &Deletion) {
        for entry in &mut self.entries {
            if let Some(shown) = entry.shown.take_if(|shown| deletion.redacts(shown)) {
                let redacted = deletion.redact(&entry.json, &shown);
                self.bytes = self.bytes - entry.json.len() + redacted.len();
                entry.json = redacted;
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn oldest(&self) -> Option<EventId> {
        self.entries.front().map(|entry| entry.event_id)
    }

    /// The newest event that is gone, 0 for none. It was in this log, so a reader before it has lost an event.
    pub(super) fn gone_through(&self) -> EventId {
        self.evicted_through
    }

    /// The events after `after` and before `before`, oldest first.
    pub(super) fn between(&self, after: EventId, before: EventId) -> vec_deque::Iter<'_, LogEntry> {
        let start = self.entries.partition_point(|entry| entry.event_id <= after);
        let end = self.entries.partition_point(|entry| entry.event_id < before);
        self.entries.range(start..end.max(start))
    }
}
