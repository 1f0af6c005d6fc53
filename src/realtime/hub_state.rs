//! What the hub's mutex guards. Each function leaves it whole; nobody is woken here.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::{
    answer,
    hub::{ANSWER_EVENTS, Limits, ParkHandle, PollOutcome, Start},
    log::{Entry, Log},
    member::{Member, MembershipTimeline},
    memberships::MembershipHistory,
    queue::{Listing, ParkedEntry, Queues},
    waiter::{Fired, Waiter},
};
use crate::{
    directory::Scope,
    events::{Audience, SequencedEvent, history::HistoryId},
    ids::{CommunityId, EventId, QueueId, UserId},
};

/// All that a hub holds.
#[derive(Default)]
pub struct State {
    /// The history that all of this is of.
    pub history: HistoryId,
    /// The newest event.
    pub head: EventId,
    /// Everything up to here counts as gone for everyone.
    floor: EventId,
    /// This process is to end: nothing is parked any more.
    pub closing: bool,
    /// Those with events or polls, each in a slot for good.
    pub communities: Vec<Community>,
    /// The slots of communities.
    community_slots: HashMap<CommunityId, u32, RandomState>,
    /// Users with queues, or about to have one.
    pub members: HashMap<UserId, Box<Member>, RandomState>,
    /// All queues.
    pub queues: Queues,
    /// When queues are to be looked at, one entry a queue: a heartbeat costs nothing here, the look puts the entry back.
    pub expiries: BinaryHeap<Reverse<(Instant, QueueId)>>,
    /// The communities of the newest events, in order, without gaps: the one at the back is the head's.
    order: VecDeque<Option<u32>>,
    /// The bytes of all events kept.
    pub bytes: usize,
    /// The generation given last.
    generation: u64,
}

/// A community on this node.
pub struct Community {
    /// Its id.
    id: CommunityId,
    /// Its newest events.
    pub log: Log,
    /// The queues whose parked polls its next event answers.
    ///
    /// A queue is put here when it parks and stays until the next event, which empties the list, even if its poll was answered
    /// from elsewhere meanwhile: so a poll of a member of many communities does not enter and leave all of their lists for
    /// each event of one. A queue whose memberships change or that ends leaves void entries, which are told by their
    /// generation and thrown out when they are the half of a list.
    listed: Vec<Listed>,
    /// Entries of `listed` that are void.
    void: usize,
    /// Counts how often the list was emptied; from 1.
    epoch: u32,
}

/// A queue in a list.
#[derive(Clone, Copy)]
struct Listed {
    slot: u32,
    generation: u64,
}

impl Community {
    fn new(id: CommunityId, log: Log) -> Self {
        Self { id, log, listed: Vec::new(), void: 0, epoch: 1 }
    }
}

impl State {
    /// Goes on from `start` and takes out all parked polls. Queues, and users with queues, stay; nothing else does.
    pub fn leap(&mut self, start: Start) -> Vec<Arc<Waiter>> {
        (self.history, self.head, self.floor) = (start.history, start.head, start.floor);
        self.order.clear();
        self.bytes = 0;
        for community in &mut self.communities {
            community.log = Log::default();
            (community.listed, community.void) = (Vec::new(), 0);
            community.epoch = community.epoch.wrapping_add(1).max(1);
        }
        for (id, through) in start.evicted {
            let slot = self.community(id);
            self.communities[slot as usize].log = Log::evicted_through(through);
        }
        for member in self.members.values_mut() {
            member.forget();
        }
        let mut parked = Vec::new();
        for queue in self.queues.iter_mut() {
            self.generation += 1;
            (queue.generation, queue.listings) = (self.generation, None);
            parked.extend(queue.parked.take().map(|parked| parked.waiter));
        }
        parked
    }

    /// Takes what the database said of a user's memberships, if it said it of this history.
    pub fn update_memberships(&mut self, user: UserId, history: &MembershipHistory) {
        if history.id != self.history {
            return;
        }
        let Some(member) = self.members.get_mut(&user) else { return };
        if member.update_memberships(history) {
            let slots = member.queues.clone();
            self.relist(&slots);
        }
    }

    /// The slot of a community, which is made where there is none.
    fn community(&mut self, id: CommunityId) -> u32 {
        let communities = &mut self.communities;
        *self.community_slots.entry(id).or_insert_with(|| {
            communities.push(Community::new(id, Log::default()));
            (communities.len() - 1) as u32
        })
    }

    /// Puts the event where its readers find it and takes out the polls that wait for it.
    pub fn append(&mut self, event: &SequencedEvent) -> Vec<Arc<Waiter>> {
        match event.audience {
            Audience::Community => {
                let slot = self.community(event.community_id);
                let community = &mut self.communities[slot as usize];
                community.log.push(Entry { event_id: event.event_id, json: event.json.clone() });
                self.bytes += event.json.len();
                self.order.push_back(Some(slot));
                self.wake(slot)
            }
            Audience::Member(change) => {
                self.order.push_back(None);
                let Some(member) = self.members.get_mut(&change.user_id) else {
                    return Vec::new();
                };
                member.apply(event.event_id, change);
                let queues = member.queues.clone();
                let woken = queues.into_iter().filter_map(|slot| {
                    self.unlist(slot);
                    let queue = self.queues.at_mut(slot)?;
                    let woken = queue.wake_for(change.community_id);
                    if queue.parked.is_some() {
                        self.list(slot);
                    }
                    woken
                });
                woken.collect()
            }
            Audience::Account(_) | Audience::Nobody => {
                self.order.push_back(None);
                Vec::new()
            }
        }
    }

    /// Empties the list of a community and takes the polls that wait there.
    fn wake(&mut self, community: u32) -> Vec<Arc<Waiter>> {
        let place = &mut self.communities[community as usize];
        let (id, listed) = (place.id, std::mem::take(&mut place.listed));
        (place.epoch, place.void) = (place.epoch.wrapping_add(1).max(1), 0);
        let mut woken = Vec::with_capacity(listed.len());
        for entry in &listed {
            let queue = self.queues.at_mut(entry.slot).filter(|queue| queue.generation == entry.generation);
            let Some(queue) = queue else { continue };
            woken.extend(queue.wake_for(id));
            if queue.parked.is_some() {
                // Its token is narrower than the queue: it waits on.
                self.list(entry.slot);
            }
        }
        // The room is for those who are about to come back.
        let place = &mut self.communities[community as usize];
        if place.listed.is_empty() {
            place.listed = listed;
            place.listed.clear();
            place.listed.shrink_to(2 * woken.len());
        }
        woken
    }

    /// Puts a queue into the lists of its communities, where it is not in them yet.
    fn list(&mut self, slot: u32) {
        let Some(queue) = self.queues.at_mut(slot) else { return };
        if let Some(places) = &mut queue.listings {
            // The common case, apart, as it is to be quick.
            for place in places.iter_mut() {
                let community = &mut self.communities[place.community as usize];
                if place.epoch != community.epoch {
                    place.epoch = community.epoch;
                    community.listed.push(Listed { slot, generation: queue.generation });
                }
            }
            return;
        }
        let (user, scope) = (queue.user, queue.scope.clone());
        let Some(timeline) = self.members.get(&user).and_then(|member| member.known()) else { return };
        let visible: Vec<CommunityId> =
            timeline.communities(self.head).filter(|community| scope.allows(*community)).collect();
        let places = visible.into_iter().map(|community| Listing { community: self.community(community), epoch: 0 });
        let places = places.collect();
        self.generation += 1;
        if let Some(queue) = self.queues.at_mut(slot) {
            (queue.listings, queue.generation) = (Some(places), self.generation);
            self.list(slot);
        }
    }

    /// Works out anew where the queues in `slots` wait: more is known of their user's memberships than when they parked.
    pub fn relist(&mut self, slots: &[u32]) {
        for slot in slots {
            self.unlist(*slot);
            if self.queues.at(*slot).is_some_and(|queue| queue.parked.is_some()) {
                self.list(*slot);
            }
        }
    }

    /// Makes the entries of a queue void, because its communities may have changed or it ends.
    fn unlist(&mut self, slot: u32) {
        let Some(queue) = self.queues.at_mut(slot) else { return };
        self.generation += 1;
        queue.generation = self.generation;
        for place in queue.listings.take().unwrap_or_default() {
            let community = &mut self.communities[place.community as usize];
            if place.epoch != community.epoch {
                continue;
            }
            community.void += 1;
            if community.void * 2 > community.listed.len() {
                let is_valid = |entry: &Listed| {
                    self.queues.at(entry.slot).is_some_and(|queue| queue.generation == entry.generation)
                };
                community.listed.retain(is_valid);
                community.listed.shrink_to(2 * community.listed.len());
                community.void = 0;
            }
        }
    }

    /// Brings the logs back within their bounds.
    pub fn evict(&mut self, limits: &Limits) {
        if let Some(Some(newest)) = self.order.back() {
            let community = &mut self.communities[*newest as usize];
            if community.log.len() > limits.community_events {
                self.bytes -= community.log.evict();
            }
        }
        while self.order.len() > limits.total_events || self.bytes > limits.total_bytes {
            let oldest = self.head.minus(self.order.len()).next();
            let Some(place) = self.order.pop_front() else { return };
            let community = place.map(|place| &mut self.communities[place as usize]);
            // It may have left its community's log before.
            if let Some(community) = community.filter(|community| community.log.oldest() == Some(oldest)) {
                self.bytes -= community.log.evict();
            }
        }
    }

    /// What is there for the queue in `slot` after `cursor`; parks where that is nothing and `park` says so.
    pub fn poll(&mut self, slot: u32, token: &Scope, cursor: EventId, park: bool) -> PollOutcome {
        if cursor < self.history.base || cursor > self.head {
            return PollOutcome::Ahead;
        }
        let Some(queue) = self.queues.at(slot) else { return PollOutcome::NotFound };
        if cursor < self.floor {
            return PollOutcome::Catchup;
        }
        let mut news = Vec::new();
        // Who has seen the head has nothing to look for, and whose places are worked out has memberships that are known.
        if cursor < self.head || queue.listings.is_none() {
            let Some(timeline) = self.members.get(&queue.user).and_then(|member| member.known()) else {
                return PollOutcome::MembershipsUnknown;
            };
            match self.gather(timeline, &queue.scope, token, cursor) {
                Some(found) => news = found,
                None => return PollOutcome::Catchup,
            }
        }
        if !news.is_empty() || !park || self.closing {
            let last = if news.len() > ANSWER_EVENTS {
                news.truncate(ANSWER_EVENTS);
                news[ANSWER_EVENTS - 1].0
            } else {
                self.head
            };
            let events: Vec<Bytes> = news.into_iter().map(|(_, json)| json).collect();
            return PollOutcome::Answer(answer::events(&events, last));
        }
        let (waiter, seen) = (Arc::new(Waiter::default()), self.head);
        let queue_id = queue.id;
        if let Some(queue) = self.queues.at_mut(slot) {
            queue.parked = Some(ParkedEntry { waiter: Arc::clone(&waiter), seen, token: token.clone() });
        }
        self.list(slot);
        PollOutcome::Parked(ParkHandle { fired: Fired(waiter), queue: queue_id, seen })
    }

    /// The events after `cursor` that the queue may see, in order, somewhat more than an answer takes at the most. None
    /// where some are gone.
    fn gather(
        &self,
        timeline: &MembershipTimeline,
        queue: &Scope,
        token: &Scope,
        cursor: EventId,
    ) -> Option<Vec<(EventId, Bytes)>> {
        let mut news = Vec::new();
        let mut logs = 0;
        for span in timeline.spans(cursor).filter(|span| queue.allows_both(token, span.community)) {
            let Some(slot) = self.community_slots.get(&span.community) else { continue };
            let community = &self.communities[*slot as usize];
            let after = cursor.max(span.joined);
            if community.log.lost_after(after) {
                return None;
            }
            let before = news.len();
            let entries = community.log.between(after, span.left).take(ANSWER_EVENTS + 1);
            news.extend(entries.map(|entry| (entry.event_id, entry.json.clone())));
            logs += usize::from(news.len() > before);
        }
        let own = timeline.changes(cursor, self.head, |community| queue.allows_both(token, community))?;
        if !own.is_empty() {
            logs += 2;
            news.extend(own.iter().map(|event| {
                let json = serde_json::to_vec(event).expect("an event of numbers and names serialises");
                (event.event_id, Bytes::from(json))
            }));
        }
        if logs > 1 {
            news.sort_unstable_by_key(|(event_id, _)| *event_id);
        }
        Some(news)
    }

    /// Removes all queues of a user, whose account has ended by this event; their parked polls are the caller's to answer.
    pub fn end_account(&mut self, user: UserId, event_id: EventId) -> Vec<Arc<Waiter>> {
        let Some(member) = self.members.get_mut(&user) else { return Vec::new() };
        member.ended = event_id;
        let queues: Vec<_> = member.queues.iter().filter_map(|slot| self.queues.at(*slot)).map(|it| it.id).collect();
        queues.into_iter().filter_map(|queue| self.remove(queue)).collect()
    }

    /// Removes the queue with all its memory; its parked poll is the caller's to answer.
    pub fn remove(&mut self, id: QueueId) -> Option<Arc<Waiter>> {
        let slot = self.queues.slot(id)?;
        self.unlist(slot);
        let queue = self.queues.remove(id)?;
        if let Some(member) = self.members.get_mut(&queue.user) {
            member.queues.retain(|one| *one != slot);
            if member.queues.is_empty() && member.loading == 0 {
                self.members.remove(&queue.user);
            }
        }
        if self.members.len() * 4 < self.members.capacity() {
            self.members.shrink_to(self.members.len() * 2);
        }
        queue.parked.map(|parked| parked.waiter)
    }
}
