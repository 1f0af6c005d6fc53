//! The queues of a node. A queue is a user, its terms and an expiry; it holds no events.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;
use slab::Slab;
use tokio::time::Instant;

use super::{
    lost::LostEvents,
    members::{Member, Members},
    parked::{ParkHandle, ParkedEntry},
};
use crate::{
    events::{EventType, Subject},
    ids::{CommunityId, EventId, QueueId, SessionTag, UserId},
    realtime::terms::QueueTerms,
};

/// A queue on this node.
#[derive(Debug)]
pub(super) struct Queue {
    id: QueueId,
    user: UserId,
    terms: QueueTerms,
    /// The queue is deleted then, unless a heartbeat comes.
    expires_at: Instant,
    parked: Option<ParkedEntry>,
    /// Events that the logs have no more, of which the queue wants none.
    unwanted: Vec<LostEvents>,
}

impl Queue {
    pub(super) fn new(id: QueueId, user: UserId, terms: QueueTerms, expires_at: Instant) -> Self {
        Self { id, user, terms, expires_at, parked: None, unwanted: Vec::new() }
    }

    pub(super) fn id(&self) -> QueueId {
        self.id
    }

    #[inline]
    pub(super) fn user(&self) -> UserId {
        self.user
    }

    #[inline]
    pub(super) fn terms(&self) -> &QueueTerms {
        &self.terms
    }

    /// Watches other communities, and returns those that it has watched.
    pub(super) fn set_watch(&mut self, watch: Arc<[CommunityId]>) -> Arc<[CommunityId]> {
        std::mem::replace(&mut self.terms.watch, watch)
    }

    pub(super) fn expires_at(&self) -> Instant {
        self.expires_at
    }

    /// Whether the queue may be used by that user: it is theirs, and has not expired.
    #[inline]
    pub(super) fn is_usable(&self, user: UserId, now: Instant) -> bool {
        self.user == user && self.expires_at > now
    }

    pub(super) fn renew(&mut self, expires_at: Instant) {
        self.expires_at = expires_at;
    }

    #[inline]
    pub(super) fn park(&mut self, entry: ParkedEntry) {
        self.parked = Some(entry);
    }

    #[inline]
    pub(super) fn is_parked(&self) -> bool {
        self.parked.is_some()
    }

    /// Takes the parked poll out; the caller answers it.
    #[inline]
    pub(super) fn unpark(&mut self) -> Option<ParkedEntry> {
        self.parked.take()
    }

    /// Whether the queue wants an event of a community.
    #[inline]
    pub(super) fn wants(
        &self,
        community: CommunityId,
        event_id: EventId,
        subject: &Subject,
        members: &Members,
    ) -> bool {
        let is_followed = |discussion| {
            let follows = members.get(self.user).and_then(Member::follows);
            follows.is_some_and(|follows| follows.has(community, subject.article, discussion, event_id))
        };
        self.terms.only.as_ref().is_none_or(|only| only.wants(subject, is_followed))
    }

    /// Whether the queue wants an own event of its user.
    #[inline]
    pub(super) fn wants_own(&self, event_type: Option<EventType>) -> bool {
        self.terms.only.as_ref().is_none_or(|only| only.wants_own(event_type))
    }

    /// Notes that the queue does not want the event, so that its parked poll need not look at it again.
    pub(super) fn pass(&mut self, event_id: EventId) {
        if let Some(entry) = &mut self.parked {
            entry.set_seen(event_id);
        }
    }

    /// Notes that the queue wants none of these events. One note is kept of each log, as long as a reader needs it.
    pub(super) fn note_unwanted(&mut self, lost: Vec<LostEvents>) {
        let seen = lost.iter().map(|lost| lost.after).min().unwrap_or(EventId::START);
        self.unwanted
            .retain(|older| older.through > seen && lost.iter().all(|newer| newer.community != older.community));
        self.unwanted.extend(lost);
    }

    /// Whether it is known that the queue wants none of these events.
    pub(super) fn wants_none(&self, lost: &LostEvents) -> bool {
        self.unwanted.iter().any(|unwanted| unwanted.covers(lost))
    }

    /// Takes the parked poll out if it is that of `handle`.
    #[inline]
    pub(super) fn unpark_handle(&mut self, handle: &ParkHandle) -> Option<ParkedEntry> {
        self.parked.take_if(|entry| entry.is_of(handle))
    }

    /// Takes the parked poll out if it may get an event of `community`.
    #[inline]
    pub(super) fn unpark_for(&mut self, community: CommunityId) -> Option<ParkedEntry> {
        self.parked.take_if(|entry| self.terms.scope.allows_both(entry.token(), community))
    }

    /// Takes the parked poll out if it came by one of these sessions.
    pub(super) fn unpark_session(&mut self, sessions: &[SessionTag]) -> Option<ParkedEntry> {
        self.parked.take_if(|entry| entry.is_by(sessions))
    }
}

/// The number of a queue in this process. It is given again when the queue is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct QueueSlot(u32);

impl QueueSlot {
    #[inline]
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// All queues of this node.
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// By [`QueueSlot`].
    slots: Slab<Queue>,
    ids: HashMap<QueueId, QueueSlot, RandomState>,
    /// When to look at each queue. A heartbeat leaves this alone: the look puts the queue back.
    expiries: BinaryHeap<Reverse<(Instant, QueueId)>>,
}

impl Queues {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Queue> {
        self.slots.iter().map(|(_, queue)| queue)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.slots.iter_mut().map(|(_, queue)| queue)
    }

    #[inline]
    pub(super) fn slot(&self, id: QueueId) -> Option<QueueSlot> {
        self.ids.get(&id).copied()
    }

    #[inline]
    pub(super) fn at(&self, slot: QueueSlot) -> Option<&Queue> {
        self.slots.get(slot.index())
    }

    #[inline]
    pub(super) fn at_mut(&mut self, slot: QueueSlot) -> Option<&mut Queue> {
        self.slots.get_mut(slot.index())
    }

    #[inline]
    pub(super) fn get(&self, id: QueueId) -> Option<&Queue> {
        self.at(self.slot(id)?)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: QueueId) -> Option<&mut Queue> {
        self.at_mut(self.slot(id)?)
    }

    /// Adds a queue whose id is not there.
    pub(super) fn insert(&mut self, queue: Queue) -> QueueSlot {
        let id = queue.id;
        self.expiries.push(Reverse((queue.expires_at, id)));
        let slot = u32::try_from(self.slots.insert(queue)).expect("four billion queues do not fit into memory");
        self.ids.insert(id, QueueSlot(slot));
        QueueSlot(slot)
    }

    /// Takes a queue out.
    pub(super) fn remove(&mut self, id: QueueId) -> Option<Queue> {
        let slot = self.ids.remove(&id)?;
        let queue = self.slots.try_remove(slot.index());
        // Tables keep the room of their busiest time. Give most of it back.
        if self.ids.len() * 4 < self.ids.capacity() {
            self.ids.shrink_to(self.ids.len() * 2);
            self.slots.shrink_to_fit();
        }
        queue
    }

    /// The queues that have expired. They stay: the caller removes each, or gives it more time by [`Self::extend`].
    pub(super) fn expired(&mut self, now: Instant) -> Vec<QueueId> {
        let mut expired = Vec::new();
        while let Some(Reverse((at, id))) = self.expiries.peek().copied() {
            if at > now {
                break;
            }
            self.expiries.pop();
            match self.get(id).map(Queue::expires_at) {
                Some(expires_at) if expires_at > now => self.expiries.push(Reverse((expires_at, id))),
                Some(_) => expired.push(id),
                None => {}
            }
        }
        expired
    }

    /// Gives an expired queue more time.
    pub(super) fn extend(&mut self, id: QueueId, now: Instant, left: Duration) {
        if let Some(queue) = self.get_mut(id) {
            queue.expires_at = queue.expires_at.max(now + left);
            let expires_at = queue.expires_at;
            self.expiries.push(Reverse((expires_at, id)));
        }
    }

    /// Whether a queue that [`Self::expired`] returned may be removed: it had no heartbeat meanwhile.
    pub(super) fn is_still_expired(&mut self, id: QueueId, now: Instant) -> bool {
        match self.get(id).map(Queue::expires_at) {
            Some(expires_at) if expires_at > now => {
                self.expiries.push(Reverse((expires_at, id)));
                false
            }
            Some(_) => true,
            None => false,
        }
    }
}
