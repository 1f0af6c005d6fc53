//! The newest events of the order, in one log for each community.
//!
//! The order's newest events form a window that ends at the head. A log holds those events of its community that are in the
//! window, but for the oldest ones where the community has more than its own bound. What a log has lost is known exactly.

use std::collections::VecDeque;

use super::{
    communities::CommunitySlot,
    community_log::{CommunityLog, LogEntry},
    limits::Limits,
};
use crate::{
    events::{Content, SequencedEvent},
    ids::EventId,
};

/// The logs of all communities.
#[derive(Debug, Default)]
pub(super) struct EventLogs {
    /// The newest event.
    head: EventId,
    /// Events up to this one are gone for everyone.
    floor: EventId,
    /// By [`CommunitySlot`].
    logs: Vec<CommunityLog>,
    /// The window: for each event the community whose log got it. The last one is the head's.
    window: VecDeque<Option<CommunitySlot>>,
    /// The bytes of all events kept.
    bytes: usize,
}

impl EventLogs {
    /// Empty logs after `head`, where events up to `floor` are gone for everyone.
    pub(super) fn starting_at(head: EventId, floor: EventId) -> Self {
        Self { head, floor, ..Self::default() }
    }

    /// Says that the community had events that are gone, the newest of them being `event_id`.
    pub(super) fn set_evicted(&mut self, community: CommunitySlot, event_id: EventId) {
        *self.log_mut(community) = CommunityLog::evicted_through(event_id);
    }

    /// The newest event.
    #[inline]
    pub(super) fn head(&self) -> EventId {
        self.head
    }

    /// Whether events after `cursor` are gone for everyone.
    #[inline]
    pub(super) fn is_below_floor(&self, cursor: EventId) -> bool {
        cursor < self.floor
    }

    /// How many events are kept.
    pub(super) fn len(&self) -> usize {
        self.logs.iter().map(CommunityLog::len).sum()
    }

    /// The bytes of the events kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The log of a community. None where the community never had an event here.
    pub(super) fn log(&self, community: CommunitySlot) -> Option<&CommunityLog> {
        self.logs.get(community.index())
    }

    fn log_mut(&mut self, community: CommunitySlot) -> &mut CommunityLog {
        if community.index() >= self.logs.len() {
            self.logs.resize_with(community.index() + 1, CommunityLog::default);
        }
        &mut self.logs[community.index()]
    }

    /// Moves the head to the next event, which is for the members of `community`. If it deletes something, the older events that
    /// show it are redacted.
    pub(super) fn append(&mut self, community: CommunitySlot, event: &SequencedEvent) {
        self.head = self.head.next();
        let event_id = self.head;
        if let Content::Deletes(deletion) = &event.content {
            let (before, after) = self.log_mut(community).redact(deletion);
            self.bytes = self.bytes + after - before;
        }
        self.bytes += event.json.len();
        let entry = LogEntry { event_id, json: event.json.clone(), shown: event.content.shown().cloned() };
        self.log_mut(community).push(entry);
        self.window.push_back(Some(community));
    }

    /// Moves the head to the next event, which no log keeps.
    pub(super) fn skip(&mut self) {
        self.head = self.head.next();
        self.window.push_back(None);
    }

    /// Evicts old events until the logs are within `limits`. Call it after each event.
    pub(super) fn evict(&mut self, limits: &Limits) {
        if let Some(Some(newest)) = self.window.back() {
            let log = &mut self.logs[newest.index()];
            if log.len() > limits.community_events {
                self.bytes -= log.evict();
            }
        }
        while self.window.len() > limits.total_events || self.bytes > limits.total_bytes {
            let oldest = self.head.minus(self.window.len()).next();
            let Some(community) = self.window.pop_front() else { return };
            let log = community.map(|community| &mut self.logs[community.index()]);
            // The event is gone already where its community had more than its own bound.
            if let Some(log) = log.filter(|log| log.oldest() == Some(oldest)) {
                self.bytes -= log.evict();
            }
        }
    }
}
