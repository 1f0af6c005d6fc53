//! Which queues watch which community, whatever its kind.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::queues::QueueSlot;
use crate::ids::CommunityId;

/// The queues that watch communities.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    queues: HashMap<CommunityId, HashSet<QueueSlot, RandomState>, RandomState>,
}

impl Watchers {
    /// The queues that watch the community.
    pub(super) fn of(&self, community: CommunityId) -> Vec<QueueSlot> {
        self.queues.get(&community).into_iter().flatten().copied().collect()
    }

    pub(super) fn add(&mut self, queue: QueueSlot, communities: &[CommunityId]) {
        for community in communities {
            self.queues.entry(*community).or_default().insert(queue);
        }
    }

    pub(super) fn remove(&mut self, queue: QueueSlot, communities: &[CommunityId]) {
        for community in communities {
            let Some(queues) = self.queues.get_mut(community) else { continue };
            queues.remove(&queue);
            if queues.is_empty() {
                self.queues.remove(community);
            } else if queues.len() * 4 < queues.capacity() {
                queues.shrink_to(queues.len() * 2);
            }
        }
    }
}
