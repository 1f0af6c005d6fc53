//! What the hub's mutex guards, and its changes. Each leaves the parts consistent with each other. None wakes anybody:
//! parked polls are returned, to be answered when the lock is released.

mod polls;
mod watching;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    communities::{Communities, CommunitySlot},
    community_log::CommunityLog,
    ended_sessions::EndedSessions,
    event_logs::EventLogs,
    follows::{FollowFact, Follows, RecentFacts},
    limits::{Limits, Start, Stats, USER_QUEUES},
    lost::LostEvents,
    members::{Member, Members},
    own_log::OwnEvent,
    parked::{AnswerSender, ParkedEntry, ParkedOutcome, answer},
    queues::{Queue, QueueSlot, Queues},
    visibilities::Visibilities,
    waiting_lists::WaitingLists,
    watchers::Watchers,
};
use crate::{
    events::{
        Audience, Content, EventType, MembershipChange, SequencedEvent, Subject,
        history::{HistoryId, Position},
    },
    ids::{CommunityId, EventId, QueueId, SessionTag, UserId},
    realtime::memberships::MembershipHistory,
};

/// All that a hub holds.
#[derive(Default)]
pub(super) struct HubState {
    /// The history of all that is here.
    history: HistoryId,
    /// This process is to end: no poll is parked any more.
    is_closing: bool,
    communities: Communities,
    logs: EventLogs,
    lists: WaitingLists,
    queues: Queues,
    members: Members,
    /// The kinds of communities.
    visibilities: Visibilities,
    watchers: Watchers,
    /// What concerns what users follow.
    facts: RecentFacts,
    ended_sessions: EndedSessions,
    /// How many polls were parked so far. Each gets its number.
    parked_polls: u64,
}

/// The parked polls that an event ends.
#[derive(Default)]
#[must_use = "these polls wait for their answer"]
pub(super) struct Appended {
    /// They get the event.
    pub(super) woken: Vec<AnswerSender>,
    /// Their queues are gone.
    pub(super) gone: Vec<RemovedQueue>,
    /// Their sessions have ended.
    pub(super) signed_out: Vec<AnswerSender>,
    /// Its queue watches other communities now.
    pub(super) released: Option<ParkedEntry>,
}

/// A queue that was removed, whose parked poll has no answer yet.
#[must_use = "its parked poll waits for an answer"]
pub(super) struct RemovedQueue(Option<AnswerSender>);

impl RemovedQueue {
    /// Tells the parked poll that its queue is gone. The hub's lock must be released.
    pub(super) fn answer(self) {
        if let Some(sender) = self.0 {
            answer(sender, ParkedOutcome::Gone);
        }
    }
}

// Events.
impl HubState {
    pub(super) fn position(&self) -> Position {
        Position { history: self.history.clone(), head: self.logs.head() }
    }

    /// Continues from `start` and takes out all parked polls. Queues and their users stay, nothing else does.
    pub(super) fn leap(&mut self, start: Start) -> Vec<AnswerSender> {
        self.history = start.history;
        self.logs = EventLogs::starting_at(start.head, start.floor);
        for (community, through) in start.evicted {
            self.logs.set_evicted(self.communities.slot_or_new(community), through);
        }
        self.visibilities = Visibilities::starting_at(&start.kinds);
        self.members.forget_history();
        self.ended_sessions = EndedSessions::starting_at(self.logs.head());
        self.facts = RecentFacts::starting_at(self.logs.head());
        self.lists.clear();
        self.queues.iter_mut().filter_map(Queue::unpark).map(ParkedEntry::into_sender).collect()
    }

    /// Appends the next event. None, and nothing changes, where it is not the next.
    pub(super) fn append(&mut self, event: &SequencedEvent, limits: &Limits) -> Option<Appended> {
        if event.event_id != self.logs.head().next() {
            return None;
        }
        let mut appended = Appended::default();
        // First of all: who writes in a discussion follows it from this event on.
        if let Some(fact) = FollowFact::of(event) {
            self.members.learn(&fact);
            self.facts.add(event.event_id, fact);
        }
        match event.audience {
            Audience::Community => {
                let community = self.communities.slot_or_new(event.community_id);
                self.logs.append(community, event, limits);
                appended.woken = self.wake_community(community, event);
                if let Content::ChangesKind(change) = event.content {
                    let gone_through = self.logs.log(community).map(CommunityLog::gone_through).unwrap_or_default();
                    self.visibilities.change(event.community_id, event.event_id, change, gone_through);
                    appended.woken.extend(self.renew_watchers(event));
                }
            }
            Audience::Member(change) => {
                self.logs.skip();
                appended.woken = self.change_membership(event.event_id, change);
            }
            Audience::User(user) => {
                self.logs.skip();
                appended.woken = self.tell_user(user, OwnEvent::other(event));
            }
            Audience::Account(user) => {
                self.logs.skip();
                appended.gone = self.end_account(event.event_id, user);
            }
            Audience::Sessions { user_id, ref ended } => {
                self.logs.skip();
                self.ended_sessions.add(event.event_id, ended);
                appended.signed_out = self.end_sessions(user_id, ended);
            }
            Audience::CommunityKind(community, change) => {
                self.logs.skip();
                self.set_kind(community, event.event_id, change);
            }
            Audience::Watch(queue, ref communities) => {
                self.logs.skip();
                appended.released = self.set_watch(queue, communities);
            }
            Audience::Nodes(_) | Audience::Nobody => self.logs.skip(),
        }
        Some(appended)
    }

    fn wake_community(&mut self, community: CommunitySlot, event: &SequencedEvent) -> Vec<AnswerSender> {
        let id = event.community_id;
        let mut woken = Vec::with_capacity(self.lists.len(community));
        let (queues, members) = (&mut self.queues, &self.members);
        self.lists.wake(community, |slot| {
            let Some(queue) = queues.at_mut(slot) else { return false };
            if queue.wants(id, event.event_id, &event.subject, members) {
                woken.extend(queue.unpark_for(id).map(ParkedEntry::into_sender));
            } else {
                queue.pass(event.event_id);
            }
            // A poll waits on if its queue wants no such event, or if its token is narrower than the queue.
            queue.is_parked()
        });
        woken
    }

    fn change_membership(&mut self, event_id: EventId, change: MembershipChange) -> Vec<AnswerSender> {
        let woken = self.tell_user(change.user_id, OwnEvent::membership(event_id, change));
        if let Some(member) = self.members.get(change.user_id) {
            let slots = member.queues().to_vec();
            self.renew_lists(&slots);
        }
        woken
    }

    /// Adds an own event to the user's log. Takes out the polls that get it.
    fn tell_user(&mut self, user: UserId, event: OwnEvent) -> Vec<AnswerSender> {
        let Some(member) = self.members.get_mut(user) else { return Vec::new() };
        let (community, event_type) = (event.community_id, event.event_type);
        if !member.apply(event, &self.visibilities) {
            return Vec::new();
        }
        let unpark = |slot: &QueueSlot| {
            self.queues.at_mut(*slot).filter(|queue| queue.wants_own(event_type))?.unpark_for(community)
        };
        member.queues().iter().filter_map(unpark).map(ParkedEntry::into_sender).collect()
    }

    fn end_account(&mut self, event_id: EventId, user: UserId) -> Vec<RemovedQueue> {
        let Some(member) = self.members.get_mut(user) else { return Vec::new() };
        member.end_account(event_id);
        let queues: Vec<QueueId> =
            member.queues().iter().filter_map(|slot| self.queues.at(*slot)).map(Queue::id).collect();
        queues.into_iter().filter_map(|queue| self.remove(queue)).collect()
    }

    /// Takes out the polls that are parked by these sessions.
    fn end_sessions(&mut self, user: UserId, ended: &[SessionTag]) -> Vec<AnswerSender> {
        let Some(member) = self.members.get(user) else { return Vec::new() };
        let unpark = |slot: &QueueSlot| self.queues.at_mut(*slot)?.unpark_session(ended);
        member.queues().iter().filter_map(unpark).map(ParkedEntry::into_sender).collect()
    }

    /// Works out anew for which communities these queues wait.
    fn renew_lists(&mut self, slots: &[QueueSlot]) {
        for slot in slots {
            self.lists.forget(*slot);
            if self.queues.at(*slot).is_some_and(Queue::is_parked) {
                self.enter_lists(*slot);
            }
        }
    }

    /// Puts a queue into the lists of its communities.
    #[inline]
    fn enter_lists(&mut self, slot: QueueSlot) {
        if !self.lists.enter(slot) {
            let Some(queue) = self.queues.at(slot) else { return };
            let Some(timeline) = self.members.get(queue.user()).and_then(Member::timeline) else { return };
            let watched = queue.terms().watch.iter().copied().filter(|id| self.visibilities.is_readable(*id));
            let mut visible: Vec<_> = timeline.communities(self.logs.head()).chain(watched).collect();
            visible.retain(|id| queue.terms().scope.allows(*id));
            // A queue is in a list once.
            visible.sort_unstable();
            visible.dedup();
            self.lists.set_communities(slot, visible.into_iter().map(|id| self.communities.slot_or_new(id)));
            self.lists.enter(slot);
        }
    }
}

// Queues and their users.
impl HubState {
    pub(super) fn begin_registration(&mut self, user: UserId) {
        self.members.begin_registration(user);
    }

    pub(super) fn end_registration(&mut self, user: UserId) {
        self.members.end_registration(user);
    }

    /// Takes what was read from the database of a user's memberships and follows, if it is of the same history.
    pub(super) fn update_memberships(
        &mut self,
        user: UserId,
        history: &MembershipHistory,
        follows: &mut Option<Follows>,
    ) {
        if history.id != self.history {
            return;
        }
        let Some(member) = self.members.get_mut(user) else { return };
        if member.update_memberships(history) {
            let slots = member.queues().to_vec();
            self.renew_lists(&slots);
        }
        // Where the facts since then are gone, the next poll reads it anew.
        if let Some(read) = follows.as_ref().map(Follows::through)
            && let Some(facts) = self.facts.after(read)
        {
            self.members.set_follows(user, follows, facts);
        }
    }

    /// Whether a queue of the user needs to know what they follow.
    pub(super) fn needs_follows(&self, user: UserId) -> bool {
        let queues = self.members.get(user).map(Member::queues).unwrap_or_default();
        queues.iter().filter_map(|slot| self.queues.at(*slot)).any(|queue| queue.terms().needs_follows())
    }

    /// Adds a queue of a user whose registration is under way. Returns the queue that it replaces, where the user had too many.
    pub(super) fn create_queue(
        &mut self,
        queue: Queue,
        history: &MembershipHistory,
        follows: &mut Option<Follows>,
    ) -> Option<(QueueId, Option<RemovedQueue>)> {
        self.update_memberships(queue.user(), history, follows);
        let member = self.members.get_mut(queue.user())?;
        // Where the account has ended since, there will be no such queue, and its first poll says why.
        let has_ended = history.id == self.history && member.has_ended_after(history.head);
        if has_ended || self.queues.slot(queue.id()).is_some() {
            return None;
        }
        let queues = member.queues().iter().filter_map(|slot| self.queues.at(*slot));
        let oldest = queues.min_by_key(|queue| queue.expires_at()).map(Queue::id);
        let oldest = oldest.filter(|_| member.queues().len() >= USER_QUEUES);
        let watch = Arc::clone(&queue.terms().watch);
        let slot = self.queues.insert(queue);
        member.add_queue(slot);
        self.watchers.add(slot, &watch);
        oldest.map(|oldest| (oldest, self.remove(oldest)))
    }

    /// Removes a queue with all its memory.
    pub(super) fn remove(&mut self, queue: QueueId) -> Option<RemovedQueue> {
        let slot = self.queues.slot(queue)?;
        self.lists.remove(slot);
        let mut queue = self.queues.remove(queue)?;
        self.members.remove_queue(queue.user(), slot);
        self.watchers.remove(slot, &queue.terms().watch);
        Some(RemovedQueue(queue.unpark().map(ParkedEntry::into_sender)))
    }

    /// The queue, if that user may use it.
    pub(super) fn usable_queue(&mut self, queue: QueueId, user: UserId, now: Instant) -> Option<&mut Queue> {
        self.queues.get_mut(queue).filter(|queue| queue.is_usable(user, now))
    }

    /// Whether the queue wants any of these events, which are gone from the logs.
    pub(super) fn wants_any(&self, queue: QueueId, events: &[(EventId, CommunityId, Subject)]) -> bool {
        let Some(queue) = self.queues.get(queue) else { return false };
        let follows = queue.terms().needs_follows();
        events.iter().any(|(event_id, community, subject)| {
            if *community == CommunityId::NONE {
                // Without the changes of what the user followed, nobody knows what they followed then.
                return queue.wants_own(subject.event_type)
                    || follows && subject.event_type == Some(EventType::FollowChanged);
            }
            queue.wants(*community, *event_id, subject, &self.members)
        })
    }

    pub(super) fn note_unwanted(&mut self, queue: QueueId, events: Vec<LostEvents>) {
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.note_unwanted(events);
        }
    }

    pub(super) fn is_owner(&self, queue: QueueId, user: UserId) -> bool {
        self.queues.get(queue).is_some_and(|queue| queue.user() == user)
    }

    pub(super) fn expired_queues(&mut self, now: Instant) -> Vec<QueueId> {
        self.queues.expired(now)
    }

    pub(super) fn extend_queue(&mut self, queue: QueueId, now: Instant, left: Duration) {
        self.queues.extend(queue, now, left);
    }

    /// Removes an expired queue, unless it had a heartbeat meanwhile.
    pub(super) fn remove_expired(&mut self, queue: QueueId, now: Instant) -> Option<RemovedQueue> {
        if !self.queues.is_still_expired(queue, now) {
            return None;
        }
        self.remove(queue)
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            queues: self.queues.len(),
            users: self.members.len(),
            parked: self.queues.iter().filter(|queue| queue.is_parked()).count(),
            events: self.logs.len(),
            bytes: self.logs.bytes(),
            head: self.logs.head(),
        }
    }
}
