//! A user with queues on this node: where they are a member, from which event on and until which.

use std::collections::BTreeSet;

use super::memberships::MembershipHistory;
use crate::{
    events::{Change, Event, MembershipChange},
    ids::{CommunityId, EventId},
};

/// More changes than this are thinned out when the next comes.
const CHANGES: usize = 64;
/// Not ended yet.
const OPEN: EventId = EventId::MAX;

/// A part of the order in which the user is a member: events after `joined` and before `left` happen in their presence (I5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MembershipSpan {
    /// The community.
    pub community: CommunityId,
    /// The event with which they joined; 0 for before all that is kept.
    pub joined: EventId,
    /// The event with which they left; `EventId::MAX` while they are in.
    pub left: EventId,
}

impl MembershipSpan {
    /// Whether they are still a member.
    pub fn is_open(&self) -> bool {
        self.left == OPEN
    }
}

/// What is known of a user's memberships.
#[derive(Debug)]
pub enum Memberships {
    /// They are being read from the database; changes that come by meanwhile wait here.
    Loading(Vec<(EventId, MembershipChange)>),
    /// They follow the order, as far as the hub has come.
    Known(MembershipTimeline),
}

/// A user's memberships along the order. They may be ahead of the hub, whose feed may lag behind the database.
#[derive(Debug, Default)]
pub struct MembershipTimeline {
    /// Changes up to here are in already, though the hub may still have to come to them.
    through: EventId,
    spans: Vec<MembershipSpan>,
    /// The user's own events: told to all their queues, rendered when asked for.
    changes: Vec<(EventId, MembershipChange)>,
    /// The newest change that is no longer in `changes`.
    forgotten_through: EventId,
}

/// A user and their queues on this node.
#[derive(Debug)]
pub struct Member {
    /// Where they are a member.
    pub memberships: Memberships,
    /// The slots of their queues.
    pub queues: Vec<u32>,
    /// Registrations under way, which keep the entry alive.
    pub loading: usize,
    /// The event that ended the user's account: a registration that read the database before it comes too late.
    pub ended: EventId,
}

impl Member {
    /// A user of whom nothing is known yet.
    pub fn loading() -> Self {
        Self { memberships: Memberships::Loading(Vec::new()), queues: Vec::new(), loading: 0, ended: EventId::START }
    }

    /// Takes a change at its place in the order.
    pub fn apply(&mut self, event_id: EventId, change: MembershipChange) {
        match &mut self.memberships {
            Memberships::Loading(waiting) => waiting.push((event_id, change)),
            Memberships::Known(known) => known.apply(event_id, change),
        }
    }

    /// Forgets what is known, as it was of another history.
    pub fn forget(&mut self) {
        self.memberships = Memberships::Loading(Vec::new());
        self.ended = EventId::START;
    }

    /// Takes what the database said, unless that is known already. Returns whether something changed of what was known
    /// before: the queues' places are then to be worked out anew.
    pub fn update_memberships(&mut self, history: &MembershipHistory) -> bool {
        match &mut self.memberships {
            Memberships::Loading(waiting) => {
                let waiting = std::mem::take(waiting);
                let mut timeline = MembershipTimeline::new(history);
                for (event_id, change) in waiting {
                    timeline.apply(event_id, change);
                }
                self.memberships = Memberships::Known(timeline);
                false
            }
            Memberships::Known(timeline) => {
                let is_newer = history.changes.last().is_some_and(|(event_id, _)| *event_id > timeline.through);
                if is_newer {
                    *timeline = MembershipTimeline::new(history);
                }
                is_newer
            }
        }
    }

    /// The memberships, once they are known.
    pub fn known(&self) -> Option<&MembershipTimeline> {
        match &self.memberships {
            Memberships::Known(timeline) => Some(timeline),
            Memberships::Loading(_) => None,
        }
    }
}

impl MembershipTimeline {
    /// Memberships as they were all along, up to the history's head.
    fn new(history: &MembershipHistory) -> Self {
        let mut timeline = Self { forgotten_through: history.forgotten_through, ..Self::default() };
        let mut seen = BTreeSet::new();
        for (event_id, change) in &history.changes {
            if seen.insert(change.community_id) && change.previous_role.is_some() {
                timeline.spans.push(MembershipSpan {
                    community: change.community_id,
                    joined: EventId::START,
                    left: OPEN,
                });
            }
            timeline.apply(*event_id, *change);
        }
        for community in history.communities.iter().filter(|community| !seen.contains(community)) {
            timeline.spans.push(MembershipSpan { community: *community, joined: EventId::START, left: OPEN });
        }
        timeline.through = history.head;
        timeline.spans.shrink_to_fit();
        timeline.changes.shrink_to_fit();
        timeline
    }

    fn apply(&mut self, event_id: EventId, change: MembershipChange) {
        if event_id <= self.through {
            return;
        }
        if self.changes.len() >= CHANGES {
            self.forgotten_through = self.changes.remove(0).0;
            let forgotten = self.forgotten_through;
            // Whoever still needs such a span is told to catch up, since its end was an event of theirs.
            self.spans.retain(|span| span.left > forgotten);
        }
        self.through = event_id;
        self.changes.push((event_id, change));
        let community = change.community_id;
        let open = self.spans.iter_mut().find(|span| span.community == community && span.is_open());
        match (open, change.role) {
            (None, Some(_)) => self.spans.push(MembershipSpan { community, joined: event_id, left: OPEN }),
            (Some(span), None) => span.left = event_id,
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Whether they are a member now: after the newest change that is known, even where the hub has yet to come to it.
    fn is_member(&self, community: CommunityId) -> bool {
        self.spans.iter().any(|span| span.community == community && span.is_open())
    }

    /// The spans of the communities that they are a member of now. Nothing of another community is delivered, whatever its
    /// place in the order: this is the one way to the spans (I5).
    fn deliverable(&self) -> impl Iterator<Item = &MembershipSpan> {
        self.spans.iter().filter(|span| span.is_open() || self.is_member(span.community))
    }

    /// The spans whose events a reader at `cursor` may still be told.
    pub fn spans(&self, cursor: EventId) -> impl Iterator<Item = &MembershipSpan> {
        self.deliverable().filter(move |span| span.left > cursor)
    }

    /// The communities whose next event, the one after `head`, they may be told.
    pub fn communities(&self, head: EventId) -> impl Iterator<Item = CommunityId> {
        let current = self.deliverable().filter(move |span| span.joined <= head && span.left > head);
        current.map(|span| span.community)
    }

    /// The user's own events after `cursor` and up to `head` of communities that are `allowed`, or None where some are gone.
    pub fn changes(&self, cursor: EventId, head: EventId, allowed: impl Fn(CommunityId) -> bool) -> Option<Vec<Event>> {
        if self.forgotten_through > cursor {
            return None;
        }
        let newer = self
            .changes
            .iter()
            .filter(|(event_id, change)| (cursor.next()..=head).contains(event_id) && allowed(change.community_id));
        Some(
            newer
                .map(|(event_id, change)| Event { event_id: *event_id, change: Change::MembershipChanged(*change) })
                .collect(),
        )
    }
}
