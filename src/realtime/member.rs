//! A user with queues on this node: where they are a member, from which event on and until which.

use std::collections::BTreeSet;

use crate::{
    auth::{Scope, memberships::History},
    events::{Change, Event, MembershipChange},
    ids::{CommunityId, EventId},
};

/// More changes than this are thinned out when the next comes.
const CHANGES: usize = 64;
/// Not ended yet.
const OPEN: EventId = EventId::MAX;

/// A stretch of the order in which the user is a member: events after `joined` and before `left` are theirs to see (I5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The community.
    pub community: CommunityId,
    /// The event with which they joined; 0 for before all that is kept.
    pub joined: EventId,
    /// The event with which they left; `EventId::MAX` while they are in.
    pub left: EventId,
}

impl Stretch {
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
    Known(Known),
}

/// A user's memberships along the order. They may be ahead of the hub, whose feed may lag behind the database.
#[derive(Debug, Default)]
pub struct Known {
    /// Changes up to here are in already, though the hub may still have to come to them.
    through: EventId,
    stretches: Vec<Stretch>,
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
}

impl Member {
    /// A user of whom nothing is known yet.
    pub fn loading() -> Self {
        Self { memberships: Memberships::Loading(Vec::new()), queues: Vec::new(), loading: 0 }
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
    }

    /// Takes what the database said, unless that is known already.
    pub fn know(&mut self, history: &History) {
        if let Memberships::Loading(waiting) = &mut self.memberships {
            let waiting = std::mem::take(waiting);
            let mut known = Known::new(history);
            for (event_id, change) in waiting {
                known.apply(event_id, change);
            }
            self.memberships = Memberships::Known(known);
        }
    }

    /// The memberships, once they are known.
    pub fn known(&self) -> Option<&Known> {
        match &self.memberships {
            Memberships::Known(known) => Some(known),
            Memberships::Loading(_) => None,
        }
    }
}

impl Known {
    /// Memberships as they were all along, up to the history's head.
    fn new(history: &History) -> Self {
        let mut known = Self { forgotten_through: history.forgotten_through, ..Self::default() };
        let mut seen = BTreeSet::new();
        for (event_id, change) in &history.changes {
            if seen.insert(change.community_id) && change.previous_role.is_some() {
                known.stretches.push(Stretch { community: change.community_id, joined: 0, left: OPEN });
            }
            known.apply(*event_id, *change);
        }
        for community in history.communities.iter().filter(|community| !seen.contains(community)) {
            known.stretches.push(Stretch { community: *community, joined: 0, left: OPEN });
        }
        known.through = history.head;
        known.stretches.shrink_to_fit();
        known.changes.shrink_to_fit();
        known
    }

    fn apply(&mut self, event_id: EventId, change: MembershipChange) {
        if event_id <= self.through {
            return;
        }
        if self.changes.len() >= CHANGES {
            self.forgotten_through = self.changes.remove(0).0;
            let forgotten = self.forgotten_through;
            // Whoever still needs such a stretch is told to catch up, since its end was an event of theirs.
            self.stretches.retain(|stretch| stretch.left > forgotten);
        }
        self.changes.push((event_id, change));
        let community = change.community_id;
        let open = self.stretches.iter_mut().find(|stretch| stretch.community == community && stretch.is_open());
        match (open, change.role) {
            (None, Some(_)) => self.stretches.push(Stretch { community, joined: event_id, left: OPEN }),
            (Some(stretch), None) => stretch.left = event_id,
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// The stretches that matter to a reader at `cursor`.
    pub fn stretches(&self, cursor: EventId) -> impl Iterator<Item = &Stretch> {
        self.stretches.iter().filter(move |stretch| stretch.left > cursor)
    }

    /// The communities they are in when the order has come to `head`.
    pub fn communities(&self, head: EventId) -> impl Iterator<Item = CommunityId> {
        let current = self.stretches.iter().filter(move |stretch| stretch.joined <= head && stretch.left > head);
        current.map(|stretch| stretch.community)
    }

    /// The user's own events after `cursor` and up to `head` that `narrowed` may be told, or None where some are gone.
    pub fn changes(
        &self,
        cursor: EventId,
        head: EventId,
        narrowed: impl Fn(CommunityId) -> bool,
    ) -> Option<Vec<Event>> {
        if self.forgotten_through > cursor {
            return None;
        }
        let newer = self
            .changes
            .iter()
            .filter(|(event_id, change)| (cursor + 1..=head).contains(event_id) && narrowed(change.community_id));
        Some(
            newer
                .map(|(event_id, change)| Event { event_id: *event_id, change: Change::MembershipChanged(*change) })
                .collect(),
        )
    }
}

/// Whether both scopes allow the community: a queue's, and that of the token it is polled with.
pub fn narrowed(queue: &Scope, token: &Scope, community: CommunityId) -> bool {
    queue.allows(community) && token.allows(community)
}
