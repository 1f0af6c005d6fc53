//! Adding a queue, or reading its user's memberships anew.
//!
//! The memberships come from the database while events go on. So a registration begins before they are read: from then on the
//! hub notes the user's membership changes, and adds those that came after what was read.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Hub, follows::Follows, queues::Queue};
use crate::{
    ids::{QueueId, UserId},
    realtime::{memberships::MembershipHistory, terms::QueueTerms},
};

/// A registration that is under way. Dropping it leaves nothing behind.
pub struct RegistrationGuard {
    hub: Arc<Hub>,
    user: UserId,
}

impl Hub {
    /// Begins a registration. Call this before the user's memberships are read.
    pub fn begin_registration(self: &Arc<Self>, user: UserId) -> RegistrationGuard {
        self.locked(|state| state.begin_registration(user));
        RegistrationGuard { hub: Arc::clone(self), user }
    }
}

impl RegistrationGuard {
    /// Takes the user's memberships and makes no queue.
    pub fn update_memberships(self, history: &MembershipHistory) {
        let mut follows = history.follows.as_ref().map(Follows::read);
        self.hub.locked(|state| state.update_memberships(self.user, history, &mut follows));
    }

    /// Makes the queue, which lives for `ttl` without a heartbeat. A user with too many queues loses the one that was idle
    /// longest, and its id is returned.
    pub fn create_queue(
        self,
        queue: QueueId,
        terms: impl Into<QueueTerms>,
        history: &MembershipHistory,
        ttl: Duration,
        now: Instant,
    ) -> Option<QueueId> {
        let queue = Queue::new(queue, self.user, terms.into(), now + ttl);
        let mut follows = history.follows.as_ref().map(Follows::read);
        let (replaced, removed) = self.hub.locked(|state| state.create_queue(queue, history, &mut follows))?;
        if let Some(removed) = removed {
            removed.answer();
        }
        Some(replaced)
    }
}

impl Drop for RegistrationGuard {
    fn drop(&mut self) {
        self.hub.locked(|state| state.end_registration(self.user));
    }
}
