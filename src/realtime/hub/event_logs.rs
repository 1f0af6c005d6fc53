//! The newest events, in one log for each community.
//!
//! All logs share one bound of events and one of bytes. Over a bound, the largest log drops its oldest event. So the logs divide
//! the room evenly, and what a small community does not need is there for the large ones (max-min fairness): a community whose log
//! is within its even share of the room loses nothing, whatever the others write. What a log has lost is known exactly.

use std::{cmp::Reverse, collections::BTreeSet};

use super::{
    communities::CommunitySlot,
    community_log::{CommunityLog, LogEntry},
    limits::Limits,
};
use crate::{
    events::{Content, SequencedEvent},
    ids::EventId,
};

/// The logs in ascending order of their sizes, without the empty ones. Of equally large logs, the one with the oldest event is last.
type BySize = BTreeSet<(usize, Reverse<EventId>, CommunitySlot)>;

/// The logs of all communities.
#[derive(Debug, Default)]
pub(super) struct EventLogs {
    /// The newest event.
    head: EventId,
    /// Events up to this one are gone for everyone.
    floor: EventId,
    /// By [`CommunitySlot`].
    logs: Vec<CommunityLog>,
    by_events: BySize,
    by_bytes: BySize,
    /// The events in all logs.
    events: usize,
    /// The bytes of these events.
    bytes: usize,
}

impl EventLogs {
    /// Empty logs after `head`, where events up to `floor` are gone for everyone.
    pub(super) fn starting_at(head: EventId, floor: EventId) -> Self {
        Self { head, floor, ..Self::default() }
    }

    /// Says that the community had events that are gone, the newest of them being `event_id`.
    pub(super) fn set_evicted(&mut self, community: CommunitySlot, event_id: EventId) {
        self.change(community, |log| *log = CommunityLog::evicted_through(event_id));
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
        self.events
    }

    /// The bytes of the events kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The log of a community. None where the community never had an event here.
    pub(super) fn log(&self, community: CommunitySlot) -> Option<&CommunityLog> {
        self.logs.get(community.index())
    }

    /// Changes a log. The sums and orders follow.
    fn change(&mut self, community: CommunitySlot, change: impl FnOnce(&mut CommunityLog)) {
        if community.index() >= self.logs.len() {
            self.logs.resize_with(community.index() + 1, CommunityLog::default);
        }
        let log = &mut self.logs[community.index()];
        if let Some(oldest) = log.oldest() {
            self.by_events.remove(&(log.len(), Reverse(oldest), community));
            self.by_bytes.remove(&(log.bytes(), Reverse(oldest), community));
        }
        let (events, bytes) = (log.len(), log.bytes());
        change(log);
        if let Some(oldest) = log.oldest() {
            self.by_events.insert((log.len(), Reverse(oldest), community));
            self.by_bytes.insert((log.bytes(), Reverse(oldest), community));
        }
        self.events = self.events - events + log.len();
        self.bytes = self.bytes - bytes + log.bytes();
    }

    /// Moves the head to the next event, which no log keeps.
    pub(super) fn skip(&mut self) {
        self.head = self.head.next();
    }

    /// Moves the head to the next event, which is for the members of `community`. If it deletes something, the older events that
    /// show it are redacted. Drops old events until the logs are within `limits`. The newest event stays until the next one comes,
    /// even if it is larger than the bound of bytes: nobody else's event goes for it.
    pub(super) fn append(&mut self, community: CommunitySlot, event: &SequencedEvent, limits: &Limits) {
        if let Content::Deletes(deletion) = &event.content {
            self.change(community, |log| log.redact(deletion));
        }
        self.drop_bytes(limits, None);
        self.head = self.head.next();
        let event_id = self.head;
        let entry = LogEntry {
            event_id,
            json: event.json.clone(),
            subject: event.subject,
            shown: event.content.shown().cloned(),
        };
        self.change(community, |log| {
            log.push(entry);
            if log.len() > limits.community_events {
                log.evict();
            }
        });
        while self.events > limits.total_events {
            let Some((_, _, largest)) = self.by_events.last().copied() else { return };
            self.change(largest, CommunityLog::evict);
        }
        self.drop_bytes(limits, Some(event_id));
    }

    /// Drops the oldest event of the largest log until the bytes are within `limits`, or that event is the one to `spare`.
    fn drop_bytes(&mut self, limits: &Limits, spare: Option<EventId>) {
        while self.bytes > limits.total_bytes {
            match self.by_bytes.last().copied() {
                Some((_, Reverse(oldest), largest)) if Some(oldest) != spare => {
                    self.change(largest, CommunityLog::evict)
                }
                _ => return,
            }
        }
    }
}
