//! Numbers communities from 0 on, so that what belongs to them is found without hashing.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::ids::CommunityId;

/// The number of a community in this process. A community keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CommunitySlot(u32);

impl CommunitySlot {
    #[inline]
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The communities that have had events or waiting queues.
#[derive(Debug, Default)]
pub(super) struct Communities {
    slots: HashMap<CommunityId, CommunitySlot, RandomState>,
}

impl Communities {
    #[inline]
    pub(super) fn slot(&self, id: CommunityId) -> Option<CommunitySlot> {
        self.slots.get(&id).copied()
    }

    /// The community's slot. A community without one gets the next.
    pub(super) fn slot_or_new(&mut self, id: CommunityId) -> CommunitySlot {
        let next = CommunitySlot(self.slots.len() as u32);
        *self.slots.entry(id).or_insert(next)
    }
}
