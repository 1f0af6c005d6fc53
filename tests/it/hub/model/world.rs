//! The database as the model sees it: who is a member, and what happened.

use super::*;

/// A history: the members at its base, and all events since.
#[derive(Clone, Default)]
pub(super) struct World {
    pub(super) id: HistoryId,
    pub(super) members: BTreeMap<(UserId, CommunityId), Role>,
    pub(super) kinds: BTreeMap<CommunityId, Visibility>,
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

    /// The kind of a community at a position in the order.
    pub(super) fn kind_at(&self, at: EventId, community: CommunityId) -> Visibility {
        let newest = self.changes_of_kind(at, community).last().map(|(_, _, kind)| kind);
        newest.or(self.kinds.get(&community).copied()).unwrap_or(Visibility::Public)
    }

    /// Whether anyone may read the community at a position in the order.
    pub(super) fn is_readable_at(&self, at: EventId, community: CommunityId) -> bool {
        matches!(self.kind_at(at, community), Visibility::Public | Visibility::Open)
    }

    /// The changes of a community's kind up to a position: where, from what, to what.
    fn changes_of_kind(
        &self,
        at: EventId,
        community: CommunityId,
    ) -> impl Iterator<Item = (EventId, Visibility, Visibility)> {
        let before = &self.events[..(at - self.id.base.get()) as usize];
        before.iter().filter(move |event| event.community_id.get() == community).filter_map(|event| {
            let json: Value = serde_json::from_slice(&event.json).unwrap();
            let kind = |name: &str| serde_json::from_value(json[name].clone()).unwrap();
            let is_change = event.audience == Audience::Community && json["type"] == "community_changed";
            is_change.then(|| (event.event_id.get(), kind("previous_kind"), kind("kind")))
        })
    }

    /// The kinds at a position, as a hub gets them that starts there.
    pub(super) fn kinds_at(&self, at: EventId) -> Vec<KindAt> {
        let kinds = (1..=COMMUNITIES).map(|community| {
            let ends = |(_, before, after): &(EventId, Visibility, Visibility)| {
                before.is_readable_by_anyone() && !after.is_readable_by_anyone()
            };
            KindAt {
                community_id: community.into(),
                visibility: Some(self.kind_at(at, community)),
                since: self.changes_of_kind(at, community).last().map_or(0, |change| change.0).into(),
                closed_at: self.changes_of_kind(at, community).filter(ends).last().map_or(0, |change| change.0).into(),
            }
        });
        kinds.filter(|kind| kind.visibility.unwrap().is_readable_by_anyone() || kind.closed_at.get() > 0).collect()
    }

    pub(super) fn turn(&mut self, community: CommunityId, kind: Visibility) {
        let before = self.kind_at(self.head(), community);
        if before != kind {
            self.events.push(changes_kind(self.head() + 1, community, before, kind));
        }
    }

    pub(super) fn write(&mut self, community: CommunityId, comment: i64, size: usize) {
        self.events.push(shows(self.head() + 1, community, comment, size));
    }

    pub(super) fn delete(&mut self, community: CommunityId, comment: i64) {
        self.events.push(deletes(self.head() + 1, community, comment));
    }

    /// Redacts the events before `at`, if the event there deletes what they show.
    pub(super) fn redact(&mut self, at: EventId) {
        let deletion: Value = serde_json::from_slice(&self.event(at).json).unwrap();
        if deletion["type"] != "deleted_comment" {
            return;
        }
        let older = (at - self.id.base.get()) as usize - 1;
        for event in &mut self.events[..older] {
            let mut json: Value = serde_json::from_slice(&event.json).unwrap();
            let is_same = |name: &str| json[name] == deletion[name];
            if json["type"] == "updated_comment"
                && is_same("comment_id")
                && is_same("community_id")
                && json["deleted_at"].is_null()
            {
                (json["text"], json["author"]) = (Value::Null, Value::Null);
                json["deleted_at"] = deletion["timestamp"].clone();
                event.json = json.to_string().into();
            }
        }
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

    /// Something of the user's own happens, in a community or in none.
    pub(super) fn own(&mut self, user: UserId, community: CommunityId, size: usize) {
        self.events.push(own(self.head() + 1, user, community, size));
    }

    /// The newest own event of the user up to `at` that their log has lost.
    pub(super) fn own_gone_through(&self, at: EventId, user: UserId) -> EventId {
        let known = &self.events[..(at - self.id.base.get()) as usize];
        let (mut kept, mut gone_through) = (std::collections::VecDeque::new(), 0);
        for event in known.iter().filter(|event| own_event(event, user).is_some()) {
            let bytes = if matches!(event.audience, Audience::User(_)) { event.json.len() } else { 0 };
            kept.push_back((event.event_id.get(), bytes));
            while kept.len() > 100 || (kept.iter().map(|(_, bytes)| bytes).sum::<usize>() > 64 << 10 && kept.len() > 1)
            {
                gone_through = kept.pop_front().unwrap().0;
            }
        }
        gone_through
    }

    pub(super) fn history(&self, user: UserId) -> History {
        History {
            id: self.id.clone(),
            head: self.head().into(),
            communities: (1..=COMMUNITIES)
                .filter(|community| self.role_at(self.head(), user, *community).is_some())
                .map(Into::into)
                .collect(),
            own_events: self.events.iter().filter_map(|event| own_event(event, user)).collect(),
            ..History::default()
        }
    }
}
