//! The log of one user: their newest own events, for all their queues.
//!
//! A node keeps it only while the user has a queue here, and reads it from the database then. It is bounded for each user, and
//! what it has lost is known exactly, as for the log of a community.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    events::{Change, Event, EventType, FollowChange, MembershipChange, SequencedEvent},
    ids::{CommunityId, EventId},
};

/// How many own events of a user are kept, the newest.
pub(crate) const OWN_EVENTS: usize = 100;
/// The bytes at which older own events are dropped. The newest one may be larger.
const OWN_BYTES: usize = 64 << 10;

/// An event for one user.
#[derive(Clone, Debug)]
pub struct OwnEvent {
    /// Its number in the order.
    pub event_id: EventId,
    /// The community that it concerns; [`CommunityId::NONE`] if it concerns none.
    pub community_id: CommunityId,
    /// Its type. None if only a later release knows it.
    pub event_type: Option<EventType>,
    /// What it says.
    pub content: OwnContent,
}

/// What an event for one user says.
#[derive(Clone, Debug)]
pub enum OwnContent {
    /// Their membership changed. It is serialised when a poll asks for it, because most users have such an event and few ask.
    Membership(MembershipChange),
    /// Anything else, as clients get it.
    Json(Bytes),
}

impl OwnEvent {
    /// A change of the user's membership.
    pub fn membership(event_id: EventId, change: MembershipChange) -> Self {
        Self {
            event_id,
            community_id: change.community_id,
            event_type: Some(EventType::MembershipChanged),
            content: OwnContent::Membership(change),
        }
    }

    /// An event that changes no membership.
    pub fn other(event: &SequencedEvent) -> Self {
        let content = OwnContent::Json(event.json.clone());
        Self {
            event_id: event.event_id,
            community_id: event.community_id,
            event_type: event.subject.event_type,
            content,
        }
    }

    /// The change of the user's membership, if it is one.
    pub(super) fn membership_change(&self) -> Option<MembershipChange> {
        match self.content {
            OwnContent::Membership(change) => Some(change),
            OwnContent::Json(_) => None,
        }
    }

    /// What the user said about following something, if it is that.
    pub(super) fn follow_change(&self) -> Option<FollowChange> {
        match &self.content {
            OwnContent::Json(json) if self.event_type == Some(EventType::FollowChanged) => {
                serde_json::from_slice(json).ok()
            }
            OwnContent::Json(_) | OwnContent::Membership(_) => None,
        }
    }

    /// The event as clients get it.
    pub(super) fn json(&self) -> Bytes {
        match &self.content {
            OwnContent::Json(json) => json.clone(),
            OwnContent::Membership(change) => {
                let event = Event { event_id: self.event_id, change: Change::MembershipChanged(*change) };
                serde_json::to_vec(&event).expect("an event of numbers and names serialises").into()
            }
        }
    }

    /// The bytes that it takes beside the entry.
    fn bytes(&self) -> usize {
        match &self.content {
            OwnContent::Json(json) => json.len(),
            OwnContent::Membership(_) => 0,
        }
    }
}

/// A user's own events in ascending order. The oldest may be gone.
#[derive(Debug, Default)]
pub(super) struct OwnLog {
    events: VecDeque<OwnEvent>,
    bytes: usize,
    /// The newest event that is gone. Older ones are gone too, or are here only to be forgotten next.
    evicted_through: EventId,
}

impl OwnLog {
    /// An empty log whose events up to this one are gone.
    pub(super) fn evicted_through(evicted_through: EventId) -> Self {
        Self { evicted_through, ..Self::default() }
    }

    /// Adds the newest event, and drops the oldest ones while the log is over a bound. Returns whether any was dropped.
    pub(super) fn push(&mut self, event: OwnEvent) -> bool {
        self.bytes += event.bytes();
        self.events.push_back(event);
        let mut has_dropped = false;
        while self.events.len() > OWN_EVENTS || (self.bytes > OWN_BYTES && self.events.len() > 1) {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.bytes();
            // The database keeps changes of memberships for longer than other events, so newer ones may be gone already.
            self.evicted_through = self.evicted_through.max(oldest.event_id);
            has_dropped = true;
        }
        has_dropped
    }

    /// The newest event that is gone, 0 for none.
    pub(super) fn gone_through(&self) -> EventId {
        self.evicted_through
    }

    /// The events that are kept, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &OwnEvent> {
        self.events.iter()
    }

    /// The events after `cursor` and up to `head` that are kept, oldest first.
    pub(super) fn between(&self, cursor: EventId, head: EventId) -> impl Iterator<Item = &OwnEvent> {
        let start = self.events.partition_point(|event| event.event_id <= cursor);
        let end = self.events.partition_point(|event| event.event_id <= head);
        self.events.range(start..end.max(start))
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.events.shrink_to_fit();
    }
}
