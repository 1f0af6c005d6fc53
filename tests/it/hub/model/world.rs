//! The database as the model sees it: who is a member, and what happened.

use super::*;

/// A history: the members at its base, and all events since.
#[derive(Clone, Default)]
pub(super) struct World {
    pub(super) id: HistoryId,
    pub(super) members: BTreeMap<(UserId, CommunityId), Role>,
    pub(super) events: Vec<SequencedEvent>,
}

impl World {
    pub(super) fn head(&self) -> EventId {
        self.id.base.get() + self.events.len() as EventId
    }

    pub(super) fn event(&self, event_id: EventId) -> &SequencedEvent {
        &self.events[(event_id - self.id.base.get()) as usize - 1]
    }

    /// The role of a member at a position in the order.
    pub(super) fn role_at(&self, at: EventId, user: UserId, community: CommunityId) -> Option<Role> {
        let before = &self.events[..(at - self.id.base.get()) as usize];
        let newest = before.iter().rev().find_map(|event| match event.audience {
            Audience::Member(change) if change.user_id.get() == user && change.community_id.get() == community => {
                Some(change.role)
            }
            _ => None,
        });
        newest.unwrap_or_else(|| self.members.get(&(user, community)).copied())
    }

    pub(super) fn write(&mut self, community: CommunityId, size: usize) {
        self.events.push(event(self.head() + 1, community, size));
    }

    pub(super) fn change(&mut self, user: UserId, community: CommunityId, leaves: bool) {
        let before = self.role_at(self.head(), user, community);
        let after = match before {
            None => Some(Role::Member),
            Some(_) if leaves => None,
            Some(Role::Member) => Some(Role::Admin),
            Some(_) => Some(Role::Member),
        };
        self.events.push(membership(self.head() + 1, change(user, community, before, after)));
    }

    pub(super) fn end_account(&mut self, user: UserId) {
        self.events.push(SequencedEvent { audience: Audience::Account(user.into()), ..event(self.head() + 1, 0, 0) });
    }

    pub(super) fn history(&self, user: UserId) -> History {
        let own = self.events.iter().filter_map(|event| match event.audience {
            Audience::Member(change) if change.user_id.get() == user => Some((event.event_id, change)),
            _ => None,
        });
        History {
            id: self.id.clone(),
            head: self.head().into(),
            communities: (1..=COMMUNITIES)
                .filter(|community| self.role_at(self.head(), user, *community).is_some())
                .map(Into::into)
                .collect(),
            changes: own.collect(),
            ..History::default()
        }
    }
}
