//! What the hub's mutex guards. Each function leaves it whole; nobody is woken here.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    answer,
    hub::{ANSWER_EVENTS, Limits, Parked, Polled},
    log::{Entry, Log},
    member::{Known, Member, narrowed},
    queue::Queue,
    waiter::{Fired, Waiter},
};
use crate::{
    auth::Scope,
    events::{Audience, Relayed},
    ids::{CommunityId, EventId, QueueId, UserId},
};

/// All that a hub holds.
pub struct State {
    /// The newest event.
    pub head: EventId,
    /// This process is to end: nothing is parked any more.
    pub closing: bool,
    /// Those with events or polls.
    pub communities: HashMap<CommunityId, Community>,
    /// Users with queues, or about to have one.
    pub members: HashMap<UserId, Member>,
    /// All queues.
    pub queues: HashMap<QueueId, Queue>,
    /// When queues are to be looked at, one entry a queue: a heartbeat costs nothing here, the look puts the entry back.
    pub expiries: BinaryHeap<Reverse<(Instant, QueueId)>>,
    /// The communities of the newest events, in order, without gaps: the one at the back is the head's.
    pub order: VecDeque<Option<CommunityId>>,
    /// The bytes of all events kept.
    pub bytes: usize,
}

/// A community on this node.
#[derive(Default)]
pub struct Community {
    /// Its newest events.
    pub log: Log,
    /// The polls that its next event answers.
    pub parked: HashMap<QueueId, Arc<Waiter>>,
}

impl State {
    /// Puts the event where its readers find it and takes out the polls that wait for it.
    pub fn append(&mut self, event: &Relayed) -> HashMap<QueueId, Arc<Waiter>> {
        match event.audience {
            Audience::Community => {
                let community = self.communities.entry(event.community_id).or_default();
                community.log.push(Entry { event_id: event.event_id, json: event.json.clone() });
                self.bytes += event.json.len();
                self.order.push_back(Some(event.community_id));
                std::mem::take(&mut community.parked)
            }
            Audience::Member(change) => {
                self.order.push_back(None);
                let Some(member) = self.members.get_mut(&change.user_id) else {
                    return HashMap::new();
                };
                member.apply(event.event_id, change);
                // Polls are parked only where their user is a member: here no longer.
                if change.role.is_none()
                    && let Some(community) = self.communities.get_mut(&change.community_id)
                {
                    for queue in &member.queues {
                        community.parked.remove(queue);
                    }
                }
                let woken = member.queues.iter().filter_map(|id| {
                    let waiter = self.queues.get_mut(id)?.wake_for(change.community_id)?;
                    Some((*id, waiter))
                });
                woken.collect()
            }
            Audience::Nobody => {
                self.order.push_back(None);
                HashMap::new()
            }
        }
    }

    /// Brings the logs back within their bounds.
    pub fn evict(&mut self, limits: &Limits) {
        if let Some(Some(newest)) = self.order.back()
            && let Some(community) = self.communities.get_mut(newest)
            && community.log.len() > limits.community_events
        {
            self.bytes -= community.log.evict();
        }
        while self.order.len() > limits.total_events || self.bytes > limits.total_bytes {
            let oldest = self.head - self.order.len() as EventId + 1;
            let Some(place) = self.order.pop_front() else { return };
            let community = place.and_then(|place| self.communities.get_mut(&place));
            // It may have left its community's log before.
            if let Some(community) = community.filter(|community| community.log.oldest() == Some(oldest)) {
                self.bytes -= community.log.evict();
            }
        }
    }

    /// What is there for the queue after `cursor`; parks where that is nothing and `park` says so.
    pub fn poll(&mut self, queue: QueueId, user: UserId, token: &Scope, cursor: EventId, park: bool) -> Polled {
        if cursor > self.head {
            return Polled::Ahead;
        }
        let (Some(found), Some(known)) = (self.queues.get(&queue), self.members.get(&user).and_then(Member::known))
        else {
            return Polled::NotFound;
        };
        let Some(mut news) = self.gather(known, &found.scope, token, cursor) else {
            return Polled::Catchup;
        };
        if !news.is_empty() || !park || self.closing {
            let last = if news.len() > ANSWER_EVENTS {
                news.truncate(ANSWER_EVENTS);
                news[ANSWER_EVENTS - 1].0
            } else {
                self.head
            };
            let events: Vec<Bytes> = news.into_iter().map(|(_, json)| json).collect();
            return Polled::Answer(answer::events(&events, last));
        }
        let waiter = Arc::new(Waiter::default());
        let visible = known.communities(self.head).filter(|community| narrowed(&found.scope, token, *community));
        for community in visible {
            self.communities.entry(community).or_default().parked.insert(queue, Arc::clone(&waiter));
        }
        let seen = self.head;
        if let Some(found) = self.queues.get_mut(&queue) {
            found.park(Arc::clone(&waiter), seen, token.clone());
        }
        Polled::Parked(Parked { fired: Fired(waiter), queue, seen })
    }

    /// The events after `cursor` that the queue may see, in order, somewhat more than an answer takes at the most. None
    /// where some are gone.
    fn gather(&self, known: &Known, queue: &Scope, token: &Scope, cursor: EventId) -> Option<Vec<(EventId, Bytes)>> {
        let mut news = Vec::new();
        let mut logs = 0;
        for stretch in known.stretches(cursor).filter(|it| narrowed(queue, token, it.community)) {
            let Some(community) = self.communities.get(&stretch.community) else { continue };
            let after = cursor.max(stretch.joined);
            if community.log.lost_after(after) {
                return None;
            }
            let before = news.len();
            let entries = community.log.between(after, stretch.left).take(ANSWER_EVENTS + 1);
            news.extend(entries.map(|entry| (entry.event_id, entry.json.clone())));
            logs += usize::from(news.len() > before);
        }
        let own = known.changes(cursor, self.head, |community| narrowed(queue, token, community))?;
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

    /// Takes the waiter out of all lists; false where it is not the queue's parked one (any longer).
    pub fn unpark(&mut self, queue: QueueId, waiter: &Arc<Waiter>) -> bool {
        let Some(found) = self.queues.get_mut(&queue) else { return false };
        if !found.unpark(waiter) {
            return false;
        }
        let known = self.members.get(&found.user).and_then(Member::known);
        for community in known.into_iter().flat_map(|known| known.communities(self.head)) {
            if let Some(community) = self.communities.get_mut(&community)
                && community.parked.get(&queue).is_some_and(|parked| Arc::ptr_eq(parked, waiter))
            {
                community.parked.remove(&queue);
            }
        }
        true
    }

    /// Removes the queue with all its memory; its parked poll is the caller's to answer.
    pub fn remove(&mut self, queue: QueueId) -> Option<Arc<Waiter>> {
        let found = self.queues.remove(&queue)?;
        if let Some(member) = self.members.get_mut(&found.user) {
            member.queues.retain(|one| *one != queue);
            for community in member.known().into_iter().flat_map(|known| known.communities(self.head)) {
                if let Some(community) = self.communities.get_mut(&community) {
                    community.parked.remove(&queue);
                }
            }
            if member.queues.is_empty() && member.loading == 0 {
                self.members.remove(&found.user);
            }
        }
        // Tables keep the room of their busiest time; give most of it back.
        if self.queues.len() * 4 < self.queues.capacity() {
            self.queues.shrink_to(self.queues.len() * 2);
            self.members.shrink_to(self.members.len() * 2);
        }
        found.parked.map(|(waiter, _)| waiter)
    }
}
