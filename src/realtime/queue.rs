//! A queue: a user, a scope and an expiry. It holds no events.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use slab::Slab;
use tokio::time::Instant;

use super::waiter::Waiter;
use crate::{
    directory::Scope,
    ids::{CommunityId, EventId, QueueId, UserId},
};

/// A user's registration for events on this node.
#[derive(Debug)]
pub struct Queue {
    /// What clients know it by.
    pub id: QueueId,
    /// Whose it is.
    pub user: UserId,
    /// What the token that registered it was narrowed to.
    pub scope: Scope,
    /// When it is deleted, unless a heartbeat comes.
    pub expires_at: Instant,
    /// Its parked poll.
    pub parked: Option<ParkedEntry>,
    /// Where it is listed, see [`super::hub_state::Community::listed`]; None until it is worked out anew.
    pub listings: Option<Box<[Listing]>>,
    /// What its entries in those lists carry, so that entries of before are known to be void. Never given twice.
    pub generation: u64,
}

/// A parked poll, as its queue knows it.
#[derive(Debug)]
pub struct ParkedEntry {
    /// Where its outcome goes.
    pub waiter: Arc<Waiter>,
    /// What it had seen when it was parked.
    pub seen: EventId,
    /// The scope of its token.
    pub token: Scope,
}

/// A community whose events a queue gets.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// Its slot.
    pub community: u32,
    /// The epoch of that community in which the queue was listed there last; 0 for never.
    pub epoch: u32,
}

impl Queue {
    /// A queue with nothing parked.
    pub fn new(id: QueueId, user: UserId, scope: Scope, expires_at: Instant) -> Self {
        Self { id, user, scope, expires_at, parked: None, listings: None, generation: 0 }
    }

    /// Whether a poll waits: an answered one may stay recorded until the next comes.
    pub fn is_waiting(&self) -> bool {
        self.parked.as_ref().is_some_and(|parked| parked.waiter.is_waiting())
    }

    /// Takes the parked poll, if it is this one.
    pub fn unpark(&mut self, waiter: &Arc<Waiter>) -> Option<ParkedEntry> {
        self.parked.take_if(|parked| Arc::ptr_eq(&parked.waiter, waiter))
    }

    /// Takes the parked poll, if it may be told of something in `community`.
    pub fn wake_for(&mut self, community: CommunityId) -> Option<Arc<Waiter>> {
        let allowed = |parked: &mut ParkedEntry| self.scope.allows_both(&parked.token, community);
        self.parked.take_if(allowed).map(|parked| parked.waiter)
    }
}

/// All queues. Each has a slot, by which it is found without a search.
#[derive(Debug, Default)]
pub struct Queues {
    slots: Slab<Queue>,
    ids: HashMap<QueueId, u32, RandomState>,
}

impl Queues {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Queue> {
        self.slots.iter().map(|(_, queue)| queue)
    }

    /// All of them, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.slots.iter_mut().map(|(_, queue)| queue)
    }

    /// The slot of a queue.
    pub fn slot(&self, id: QueueId) -> Option<u32> {
        self.ids.get(&id).copied()
    }

    /// The queue in a slot.
    pub fn at(&self, slot: u32) -> Option<&Queue> {
        self.slots.get(slot as usize)
    }

    /// The queue in a slot, to change.
    pub fn at_mut(&mut self, slot: u32) -> Option<&mut Queue> {
        self.slots.get_mut(slot as usize)
    }

    /// The queue of that id.
    pub fn get(&self, id: QueueId) -> Option<&Queue> {
        self.at(self.slot(id)?)
    }

    /// The queue of that id, to change.
    pub fn get_mut(&mut self, id: QueueId) -> Option<&mut Queue> {
        self.at_mut(self.slot(id)?)
    }

    /// Adds a queue whose id is not there.
    pub fn insert(&mut self, queue: Queue) -> u32 {
        let id = queue.id;
        let slot = u32::try_from(self.slots.insert(queue)).expect("four billion queues do not fit into memory");
        self.ids.insert(id, slot);
        slot
    }

    /// Takes a queue out.
    pub fn remove(&mut self, id: QueueId) -> Option<Queue> {
        let slot = self.ids.remove(&id)?;
        let queue = self.slots.try_remove(slot as usize);
        // Tables keep the room of their busiest time; give most of it back.
        if self.ids.len() * 4 < self.ids.capacity() {
            self.ids.shrink_to(self.ids.len() * 2);
            self.slots.shrink_to_fit();
        }
        queue
    }
}
