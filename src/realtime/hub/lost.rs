//! Events that a reader needs and the logs have no more.

use crate::ids::{CommunityId, EventId};

/// Events of one log that are gone: some after `after`, up to `through`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostEvents {
    /// Whose log it is. None for the user's own.
    pub community: Option<CommunityId>,
    /// The reader has seen the events up to this one.
    pub after: EventId,
    /// The newest event that is gone.
    pub through: EventId,
}

impl LostEvents {
    /// Whether `other` are among these.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.community == other.community && self.after <= other.after && other.through <= self.through
    }
}
