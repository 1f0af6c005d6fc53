//! A user's memberships along the order of events: where they are a member, from which event on and until which (I5).

use std::collections::BTreeSet;

use crate::{
    events::{Change, Event, MembershipChange},
    ids::{CommunityId, EventId},
    realtime::memberships::{MAX_CHANGES, MembershipHistory},
};

/// The end of a membership that has not ended.
const OPEN: EventId = EventId::MAX;

/// A part of the order in which the user is a member. Events after `joined` and before `left` happen in their presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MembershipSpan {
    pub(super) community: CommunityId,
    /// The event with which they joined; 0 for before all that is kept.
    pub(super) joined: EventId,
    /// The event with which they left; [`OPEN`] while they are a member.
    pub(super) left: EventId,
}

impl MembershipSpan {
    fn open(community: CommunityId, joined: EventId) -> Self {
        Self { community, joined, left: OPEN }
    }

    fn is_open(&self) -> bool {
        self.left == OPEN
    }
}

/// A user's memberships. The hub's feed may lag behind the database, so these may be ahead of the hub.
#[derive(Debug, Default)]
pub(super) struct MembershipTimeline {
    /// Changes up to this event are included, though the hub may still have to come to them.
    through: EventId,
    spans: Vec<MembershipSpan>,
    /// The user's own events, for all their queues. Serialised when a poll asks for them.
    changes: Vec<(EventId, MembershipChange)>,
    /// The newest change that is no longer in `changes`.
    forgotten_through: EventId,
}

impl MembershipTimeline {
    /// The memberships up to the history's head.
    pub(super) fn new(history: &MembershipHistory) -> Self {
        let mut timeline = Self { forgotten_through: history.forgotten_through, ..Self::default() };
        let mut seen = BTreeSet::new();
        for (event_id, change) in &history.changes {
            if seen.insert(change.community_id) && change.previous_role.is_some() {
                timeline.spans.push(MembershipSpan::open(change.community_id, EventId::START));
            }
            timeline.apply(*event_id, *change);
        }
        for community in history.communities.iter().filter(|community| !seen.contains(community)) {
            timeline.spans.push(MembershipSpan::open(*community, EventId::START));
        }
        timeline.through = history.head;
        timeline.spans.shrink_to_fit();
        timeline.changes.shrink_to_fit();
        timeline
    }

    /// Whether `history` has a change that is not included yet.
    pub(super) fn is_behind(&self, history: &MembershipHistory) -> bool {
        history.changes.last().is_some_and(|(event_id, _)| *event_id > self.through)
    }

    /// Takes a change when the order comes to it, unless it is included already.
    pub(super) fn apply(&mut self, event_id: EventId, change: MembershipChange) {
        if event_id <= self.through {
            return;
        }
        if self.changes.len() >= MAX_CHANGES {
            self.forgotten_through = self.changes.remove(0).0;
            let forgotten = self.forgotten_through;
            // A reader who still needs such a span is told to catch up, because its end was an event of theirs.
            self.spans.retain(|span| span.left > forgotten);
        }
        self.through = event_id;
        self.changes.push((event_id, change));
        let community = change.community_id;
        let open = self.spans.iter_mut().find(|span| span.community == community && span.is_open());
        match (open, change.role) {
            (None, Some(_)) => self.spans.push(MembershipSpan::open(community, event_id)),
            (Some(span), None) => span.left = event_id,
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Whether they are a member after the newest change that is known, even if the hub has yet to come to it.
    fn is_member(&self, community: CommunityId) -> bool {
        self.spans.iter().any(|span| span.community == community && span.is_open())
    }

    /// The spans of the communities of which they are a member now. Events of other communities are not delivered, however
    /// old they are. All access to the spans goes through here (I5).
    fn deliverable(&self) -> impl Iterator<Item = &MembershipSpan> {
        self.spans.iter().filter(|span| span.is_open() || self.is_member(span.community))
    }

    /// The spans with events that a reader at `cursor` may still get.
    pub(super) fn spans(&self, cursor: EventId) -> impl Iterator<Item = &MembershipSpan> {
        self.deliverable().filter(move |span| span.left > cursor)
    }

    /// The communities whose next event, the one after `head`, they may get.
    pub(super) fn communities(&self, head: EventId) -> impl Iterator<Item = CommunityId> {
        let current = self.deliverable().filter(move |span| span.joined <= head && span.left > head);
        current.map(|span| span.community)
    }

    /// The user's own events after `cursor` and up to `head`, of communities that are `allowed`. None where some are gone.
    pub(super) fn own_events(
        &self,
        cursor: EventId,
        head: EventId,
        allowed: impl Fn(CommunityId) -> bool,
    ) -> Option<Vec<Event>> {
        if self.forgotten_through > cursor {
            return None;
        }
        let is_new = |event_id: EventId| event_id > cursor && event_id <= head;
        let newer = self.changes.iter().filter(|(event_id, change)| is_new(*event_id) && allowed(change.community_id));
        let event = |(event_id, change): &(EventId, MembershipChange)| Event {
            event_id: *event_id,
            change: Change::MembershipChanged(*change),
        };
        Some(newer.map(event).collect())
    }
}
