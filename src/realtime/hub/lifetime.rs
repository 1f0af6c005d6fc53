//! How long queues live: heartbeats, closing and expiry (I6).

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Hub, parked::ParkedEntry};
use crate::{
    ids::{CommunityId, QueueId, UserId},
    realtime::terms::QueueTerms,
};

impl Hub {
    /// Whether that user has this queue here.
    pub fn has_queue(&self, queue: QueueId, user: UserId, now: Instant) -> bool {
        self.locked(|state| state.usable_queue(queue, user, now).is_some())
    }

    /// The terms of the queue. None where this user has no such queue here.
    pub fn terms(&self, queue: QueueId, user: UserId, now: Instant) -> Option<QueueTerms> {
        self.locked(|state| Some(state.usable_queue(queue, user, now)?.terms().clone()))
    }

    /// Restarts the queue's time to live and returns its terms. None where this user has no such queue here.
    pub fn heartbeat(&self, queue: QueueId, user: UserId, now: Instant) -> Option<QueueTerms> {
        self.locked(|state| {
            let queue = state.usable_queue(queue, user, now)?;
            queue.renew(now + self.limits.queue_ttl);
            Some(queue.terms().clone())
        })
    }

    /// Makes the queue, if it is here, watch these communities and no others. A parked poll is answered with an empty list, because there
    /// may be more events after its cursor now.
    pub fn set_watch(&self, queue: QueueId, communities: &Arc<[CommunityId]>) {
        self.locked(|state| state.set_watch(queue, communities)).into_iter().for_each(ParkedEntry::release);
    }

    /// Deletes a queue and tells its parked poll. False where this user has no such queue here.
    pub fn close(&self, queue: QueueId, user: UserId) -> bool {
        let removed = self.locked(|state| if state.is_owner(queue, user) { state.remove(queue) } else { None });
        removed.map(|removed| removed.answer()).is_some()
    }

    /// Deletes a queue that was closed at another node, and tells its parked poll.
    pub fn closed_elsewhere(&self, queue: QueueId) {
        if let Some(removed) = self.locked(|state| state.remove(queue)) {
            removed.answer();
        }
    }

    /// The queues that have expired here. They stay until [`Hub::drop_expired`] or [`Hub::extend`], because another node may
    /// have had a heartbeat.
    pub fn expired(&self, now: Instant) -> Vec<QueueId> {
        self.locked(|state| state.expired_queues(now))
    }

    /// Keeps an expired queue, which had a heartbeat elsewhere and has this much time left.
    pub fn extend(&self, queue: QueueId, now: Instant, left: Duration) {
        self.locked(|state| state.extend_queue(queue, now, left));
    }

    /// Deletes an expired queue and tells its parked poll. False where it had a heartbeat meanwhile or is gone.
    pub fn drop_expired(&self, queue: QueueId, now: Instant) -> bool {
        let removed = self.locked(|state| state.remove_expired(queue, now));
        removed.map(|removed| removed.answer()).is_some()
    }
}
