//! A user's memberships along the order of events: where they are a member, from which event on and until which (I5). Their own
//! events are here too, as changes of memberships are among them.

use std::collections::BTreeSet;

use super::{
    own_log::{OwnEvent, OwnLog},
    visibilities::Visibilities,
};
use crate::{
    events::MembershipChange,
    ids::{CommunityId, EventId},
    realtime::memberships::MembershipHistory,
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

/// A user's memberships and own events. The hub's feed may lag behind the database, so these may be ahead of the hub.
#[derive(Debug, Default)]
pub(super) struct MembershipTimeline {
    /// Own events up to this one are included, though the hub may still have to come to them.
    through: EventId,
    spans: Vec<MembershipSpan>,
    own: OwnLog,
}

impl MembershipTimeline {
    /// The memberships up to the history's head.
    pub(super) fn new(history: &MembershipHistory) -> Self {
        let own = OwnLog::evicted_through(history.forgotten_through);
        let mut timeline = Self { own, ..Self::default() };
        let mut seen = BTreeSet::new();
        for event in &history.own_events {
            if let Some(change) = event.membership_change()
                && seen.insert(change.community_id)
                && change.previous_role.is_some()
            {
                timeline.spans.push(MembershipSpan::open(change.community_id, EventId::START));
            }
            timeline.apply(event.clone());
        }
        for community in history.communities.iter().filter(|community| !seen.contains(community)) {
            timeline.spans.push(MembershipSpan::open(*community, EventId::START));
        }
        timeline.through = history.head;
        timeline.spans.shrink_to_fit();
        timeline.own.shrink_to_fit();
        timeline
    }

    /// Whether `history` has an own event that is not included yet.
    pub(super) fn is_behind(&self, history: &MembershipHistory) -> bool {
        history.own_events.last().is_some_and(|event| event.event_id > self.through)
    }

    /// Takes an own event when the order comes to it, unless it is included already.
    pub(super) fn apply(&mut self, event: OwnEvent) {
        let event_id = event.event_id;
        if event_id <= self.through {
            return;
        }
        self.through = event_id;
        let change = event.membership_change();
        if self.own.push(event) {
            // A reader who still needs such a span is told to catch up, because its end was an event of theirs.
            let gone_through = self.own.gone_through();
            self.spans.retain(|span| span.left > gone_through);
        }
        if let Some(change) = change {
            self.change(event_id, change);
        }
    }

    fn change(&mut self, event_id: EventId, change: MembershipChange) {
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

    /// All own events that are kept, oldest first.
    pub(super) fn all_own_events(&self) -> impl Iterator<Item = &OwnEvent> {
        self.own.iter()
    }

    /// The newest own event that is gone, 0 for none.
    pub(super) fn own_gone_through(&self) -> EventId {
        self.own.gone_through()
    }

    /// The user's own events after `cursor` and up to `head` that are kept and that they may get, of communities that are `allowed`.
    pub(super) fn own_events(
        &self,
        cursor: EventId,
        head: EventId,
        visibilities: &Visibilities,
        allowed: impl Fn(CommunityId) -> bool,
    ) -> impl Iterator<Item = &OwnEvent> {
        let may_get = move |event: &&OwnEvent| allowed(event.community_id) && self.may_get(event, visibilities);
        self.own.between(cursor, head).filter(may_get)
    }

    /// Whether the user may get an own event. Changes of memberships reach former members too. Other events of a community reach
    /// who was a member at their place in the order, and still is (I5). Those of an open community need no membership.
    pub(super) fn may_get(&self, event: &OwnEvent, visibilities: &Visibilities) -> bool {
        let is_present = |span: &MembershipSpan| {
            span.community == event.community_id && span.joined < event.event_id && event.event_id < span.left
        };
        event.community_id == CommunityId::NONE
            || event.membership_change().is_some()
            || self.deliverable().any(is_present)
            || visibilities.is_open_since(event.community_id, event.event_id)
    }
}
