//! Which queues the next event of a community wakes.
//!
//! Each community has a list of queues. What holds:
//!
//! * A queue whose poll is parked is in the lists of all communities that it waits for.
//! * A queue is in a list once at most. The list's epoch tells: it changes when the list is emptied, and each queue records
//!   the epoch in which it entered.
//! * A queue stays in a list until that community's next event empties it, even if its poll was answered by another event
//!   meanwhile. So a poll of a member of many communities does not enter and leave all their lists for each event.
//! * A generation mismatch marks an entry as stale: the queue ended, or waits for other communities. A list is compacted when
//!   more than half of it is stale.

use super::{communities::CommunitySlot, queues::QueueSlot};

/// The lists of all communities.
#[derive(Debug, Default)]
pub(super) struct WaitingLists {
    /// By [`CommunitySlot`].
    lists: Vec<WaitingList>,
    /// By [`QueueSlot`].
    queues: Vec<Listings>,
    /// The newest generation. None is used twice.
    last_generation: u64,
}

#[derive(Debug)]
struct WaitingList {
    entries: Vec<Entry>,
    /// How many of the entries are stale.
    stale: usize,
    /// Never 0.
    epoch: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    queue: QueueSlot,
    generation: u64,
}

/// Where a queue is listed.
#[derive(Debug, Default)]
struct Listings {
    /// The communities that the queue waits for. None until they are worked out.
    communities: Option<Box<[Listing]>>,
    /// The entries of the queue carry this, older entries another.
    generation: u64,
}

#[derive(Clone, Copy, Debug)]
struct Listing {
    community: CommunitySlot,
    /// The epoch in which the queue entered the list; 0 for never.
    epoch: u32,
}

impl Default for WaitingList {
    fn default() -> Self {
        Self { entries: Vec::new(), stale: 0, epoch: 1 }
    }
}

impl WaitingList {
    /// Takes the entries out. All queues may enter again.
    fn drain(&mut self) -> Vec<Entry> {
        self.epoch = self.epoch.wrapping_add(1).max(1);
        self.stale = 0;
        std::mem::take(&mut self.entries)
    }
}

impl WaitingLists {
    /// Whether it is known which communities the queue waits for.
    #[inline]
    pub(super) fn has_communities(&self, queue: QueueSlot) -> bool {
        self.queues.get(queue.index()).is_some_and(|queue| queue.communities.is_some())
    }

    /// How many queues are in the list of a community, at most.
    pub(super) fn len(&self, community: CommunitySlot) -> usize {
        self.lists.get(community.index()).map_or(0, |list| list.entries.len())
    }

    /// Says which communities a queue waits for. It enters their lists by [`Self::enter`].
    pub(super) fn set_communities(&mut self, queue: QueueSlot, communities: impl Iterator<Item = CommunitySlot>) {
        self.forget(queue);
        let communities: Box<[_]> = communities.map(|community| Listing { community, epoch: 0 }).collect();
        let lists = communities.iter().map(|listing| listing.community.index() + 1).max().unwrap_or(0);
        if lists > self.lists.len() {
            self.lists.resize_with(lists, WaitingList::default);
        }
        if queue.index() >= self.queues.len() {
            self.queues.resize_with(queue.index() + 1, Listings::default);
        }
        self.last_generation += 1;
        self.queues[queue.index()] = Listings { communities: Some(communities), generation: self.last_generation };
    }

    /// Puts a queue into the lists of its communities in which it is not yet. False where these communities are not known.
    #[inline]
    pub(super) fn enter(&mut self, queue: QueueSlot) -> bool {
        let Some(listings) = self.queues.get_mut(queue.index()) else { return false };
        let Some(communities) = &mut listings.communities else { return false };
        let generation = listings.generation;
        for listing in communities.iter_mut() {
            let list = &mut self.lists[listing.community.index()];
            if listing.epoch != list.epoch {
                listing.epoch = list.epoch;
                list.entries.push(Entry { queue, generation });
            }
        }
        true
    }

    /// Forgets which communities a queue waits for. Its entries are stale from now on.
    pub(super) fn forget(&mut self, queue: QueueSlot) {
        let Some(listings) = self.queues.get_mut(queue.index()) else { return };
        self.last_generation += 1;
        listings.generation = self.last_generation;
        for listing in listings.communities.take().unwrap_or_default() {
            let list = &mut self.lists[listing.community.index()];
            if listing.epoch != list.epoch {
                continue;
            }
            list.stale += 1;
            if list.stale * 2 > list.entries.len() {
                list.entries.retain(|entry| is_current(&self.queues, entry));
                list.entries.shrink_to(2 * list.entries.len());
                list.stale = 0;
            }
        }
    }

    /// Forgets a queue that ends.
    pub(super) fn remove(&mut self, queue: QueueSlot) {
        self.forget(queue);
        while self.queues.last().is_some_and(|queue| queue.communities.is_none()) {
            self.queues.pop();
        }
        if self.queues.len() * 4 < self.queues.capacity() {
            self.queues.shrink_to(self.queues.len() * 2);
        }
    }

    /// Empties the list of a community and calls `wake` with each queue that was in it. A queue for which `wake` returns
    /// true waits on, in the list again.
    pub(super) fn wake(&mut self, community: CommunitySlot, mut wake: impl FnMut(QueueSlot) -> bool) {
        let Some(list) = self.lists.get_mut(community.index()) else { return };
        let mut entries = list.drain();
        let mut woken = 0;
        for entry in &entries {
            if !is_current(&self.queues, entry) {
                continue;
            }
            if wake(entry.queue) {
                self.stay(community, *entry);
            } else {
                woken += 1;
            }
        }
        // Keep the room for those who are about to come back.
        let list = &mut self.lists[community.index()];
        if list.entries.is_empty() {
            entries.clear();
            entries.shrink_to(2 * woken);
            list.entries = entries;
        }
    }

    /// Puts a queue that was in the list of a community, which is emptied, into it again.
    fn stay(&mut self, community: CommunitySlot, entry: Entry) {
        let listings = self.queues.get_mut(entry.queue.index()).and_then(|queue| queue.communities.as_mut());
        let listing = listings.and_then(|listings| listings.iter_mut().find(|listing| listing.community == community));
        if let Some(listing) = listing {
            let list = &mut self.lists[community.index()];
            listing.epoch = list.epoch;
            list.entries.push(entry);
        }
    }

    /// Forgets all queues.
    pub(super) fn clear(&mut self) {
        *self = Self { last_generation: self.last_generation, ..Self::default() };
    }
}

fn is_current(queues: &[Listings], entry: &Entry) -> bool {
    queues.get(entry.queue.index()).is_some_and(|queue| queue.generation == entry.generation)
}
