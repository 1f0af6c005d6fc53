//! The users with queues on this node.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    follows::{FollowFact, Follows, PseudonymKey},
    own_log::OwnEvent,
    queues::QueueSlot,
    timeline::MembershipTimeline,
    visibilities::Visibilities,
};
use crate::{
    events::NodeMessage,
    ids::{EventId, UserId},
    realtime::memberships::MembershipHistory,
};

/// A user and their queues.
#[derive(Debug, Default)]
pub(super) struct Member {
    memberships: Memberships,
    queues: Vec<QueueSlot>,
    /// How many registrations are under way. They keep the entry alive.
    registrations: usize,
    /// The event that ended the user's account, 0 for none.
    account_ended_at: EventId,
    /// What the user follows. None where no queue needs it, and where it is to be read anew.
    follows: Option<Box<Follows>>,
}

#[derive(Debug)]
enum Memberships {
    /// They are being read from the database. Own events that come meanwhile wait here.
    Loading(Vec<OwnEvent>),
    /// They are known, and follow the order from now on.
    Known(MembershipTimeline),
}

impl Default for Memberships {
    fn default() -> Self {
        Self::Loading(Vec::new())
    }
}

impl Member {
    /// The memberships, once they are known.
    #[inline]
    pub(super) fn timeline(&self) -> Option<&MembershipTimeline> {
        match &self.memberships {
            Memberships::Known(timeline) => Some(timeline),
            Memberships::Loading(_) => None,
        }
    }

    /// What the user follows, if it is known.
    pub(super) fn follows(&self) -> Option<&Follows> {
        self.follows.as_deref()
    }

    /// Takes an own event when the order comes to it. Returns whether the user may get it.
    pub(super) fn apply(&mut self, event: OwnEvent, visibilities: &Visibilities) -> bool {
        if let Some(follows) = &mut self.follows {
            follows.apply(&event);
        }
        match &mut self.memberships {
            Memberships::Loading(waiting) => {
                waiting.push(event);
                // Nobody waits: no poll is parked before the memberships are known.
                false
            }
            Memberships::Known(timeline) => {
                // Only a change of a membership changes what they may get, and they always get that.
                let may_get = timeline.may_get(&event, visibilities);
                timeline.apply(event);
                may_get
            }
        }
    }

    /// Takes what was read from the database. Returns whether memberships that were known before changed, so that the
    /// queues wait for other communities.
    pub(super) fn update_memberships(&mut self, history: &MembershipHistory) -> bool {
        match &mut self.memberships {
            Memberships::Loading(waiting) => {
                let mut timeline = MembershipTimeline::new(history);
                for event in waiting.drain(..) {
                    timeline.apply(event);
                }
                self.memberships = Memberships::Known(timeline);
                false
            }
            Memberships::Known(timeline) => {
                let is_behind = timeline.is_behind(history);
                if is_behind {
                    *timeline = MembershipTimeline::new(history);
                }
                is_behind
            }
        }
    }

    pub(super) fn queues(&self) -> &[QueueSlot] {
        &self.queues
    }

    pub(super) fn add_queue(&mut self, queue: QueueSlot) {
        self.queues.push(queue);
    }

    pub(super) fn end_account(&mut self, event_id: EventId) {
        self.account_ended_at = event_id;
    }

    /// Whether the account ended after what was read from the database up to `head`.
    pub(super) fn has_ended_after(&self, head: EventId) -> bool {
        self.account_ended_at > head
    }

    fn is_unused(&self) -> bool {
        self.queues.is_empty() && self.registrations == 0
    }
}

/// Users who have queues or are about to have one.
#[derive(Debug, Default)]
pub(super) struct Members {
    members: HashMap<UserId, Box<Member>, RandomState>,
    /// Whose pseudonyms these are: of the users for whom it is known what they follow.
    pseudonyms: HashMap<PseudonymKey, UserId, RandomState>,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    #[inline]
    pub(super) fn get(&self, user: UserId) -> Option<&Member> {
        self.members.get(&user).map(|member| &**member)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, user: UserId) -> Option<&mut Member> {
        self.members.get_mut(&user).map(|member| &mut **member)
    }

    /// Takes what the user follows, unless it is known already. `facts` came after it was read.
    pub(super) fn set_follows<'a>(
        &mut self,
        user: UserId,
        follows: &mut Option<Follows>,
        facts: impl Iterator<Item = &'a FollowFact>,
    ) {
        let Some(member) = self.members.get_mut(&user).filter(|member| member.follows.is_none()) else { return };
        let Some(mut follows) = follows.take() else { return };
        member
            .timeline()
            .into_iter()
            .flat_map(MembershipTimeline::all_own_events)
            .for_each(|event| follows.apply(event));
        self.pseudonyms.extend(follows.pseudonyms().iter().map(|key| (key.clone(), user)));
        member.follows = Some(Box::new(follows));
        facts.for_each(|fact| self.learn(fact));
    }

    /// Takes what an event tells about what somebody follows.
    pub(super) fn learn(&mut self, fact: &FollowFact) {
        let user = fact.user().or_else(|pseudonym| self.pseudonyms.get(&pseudonym).copied().ok_or(pseudonym));
        let Ok(user) = user else { return };
        let Some(follows) = self.members.get_mut(&user).and_then(|member| member.follows.as_mut()) else { return };
        follows.learn(fact);
        if let FollowFact::Told(NodeMessage::Pseudonym(_, community, article, name)) = fact {
            self.pseudonyms.insert((*community, *article, name.clone()), user);
        }
    }

    /// Forgets a user who has no queue any more.
    fn remove(&mut self, user: UserId) {
        let follows = self.members.remove(&user).and_then(|member| member.follows);
        for key in follows.iter().flat_map(|follows| follows.pseudonyms()) {
            self.pseudonyms.remove(key);
        }
    }

    /// From now on the user's membership changes are noted.
    pub(super) fn begin_registration(&mut self, user: UserId) {
        self.members.entry(user).or_default().registrations += 1;
    }

    pub(super) fn end_registration(&mut self, user: UserId) {
        if let Some(member) = self.members.get_mut(&user) {
            member.registrations -= 1;
            if member.is_unused() {
                self.remove(user);
            }
        }
    }

    /// Forgets a queue, and its user where this was the last one.
    pub(super) fn remove_queue(&mut self, user: UserId, queue: QueueSlot) {
        if let Some(member) = self.members.get_mut(&user) {
            member.queues.retain(|one| *one != queue);
            if member.is_unused() {
                self.remove(user);
            }
        }
        if self.members.len() * 4 < self.members.capacity() {
            self.members.shrink_to(self.members.len() * 2);
        }
    }

    /// Forgets all memberships, follows and ended accounts, which belong to another history. Users and their queues stay.
    pub(super) fn forget_history(&mut self) {
        for member in self.members.values_mut() {
            member.memberships = Memberships::default();
            member.account_ended_at = EventId::START;
            member.follows = None;
        }
        self.pseudonyms.clear();
    }
}
