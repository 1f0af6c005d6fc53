//! What a poll gets: an answer now, or a handle to wait for.

use tokio::time::Instant;

use super::HubState;
use crate::{
    auth::Viewer,
    directory::Scope,
    ids::{EventId, QueueId},
    realtime::hub::{
        PollOutcome,
        ended_sessions::SessionState,
        lost::LostEvents,
        members::Member,
        parked::{ParkHandle, ParkedEntry, park},
        queues::{Queue, QueueSlot},
        visible::{Reader, VisibleEvents},
    },
};

/// A [`PollOutcome`] whose answer is not put together yet: that takes time, so the hub's lock must be released first.
#[must_use]
pub(in crate::realtime::hub) enum Finding {
    /// The events of the answer, and its cursor.
    Events(VisibleEvents, EventId),
    Catchup,
    Parked(ParkHandle),
    Ahead,
    MembershipsUnknown,
    SessionEnded,
    SessionUnknown,
    NotFound,
    Lost(Vec<LostEvents>),
}

impl From<Finding> for PollOutcome {
    fn from(found: Finding) -> Self {
        match found {
            Finding::Events(events, cursor) => Self::Answer(events.body(cursor)),
            Finding::Catchup => Self::Catchup,
            Finding::Parked(handle) => Self::Parked(handle),
            Finding::Ahead => Self::Ahead,
            Finding::MembershipsUnknown => Self::MembershipsUnknown,
            Finding::SessionEnded => Self::SessionEnded,
            Finding::SessionUnknown => Self::SessionUnknown,
            Finding::NotFound => Self::NotFound,
            Finding::Lost(events) => Self::Lost(events),
        }
    }
}

impl HubState {
    /// Polls a queue; see [`crate::realtime::hub::Hub::poll`]. The poll that was parked there before is the caller's to release.
    #[inline]
    pub(in crate::realtime::hub) fn poll(
        &mut self,
        queue: QueueId,
        viewer: &Viewer,
        cursor: EventId,
        may_park: bool,
        now: Instant,
    ) -> (Option<ParkedEntry>, Finding) {
        match viewer.session.map(|session| self.ended_sessions.state(&session)) {
            None | Some(SessionState::Valid) => {}
            Some(SessionState::Ended) => return (None, Finding::SessionEnded),
            Some(SessionState::Unknown) => return (None, Finding::SessionUnknown),
        }
        let Some(slot) = self.queues.slot(queue) else { return (None, Finding::NotFound) };
        let older = match self.queues.at_mut(slot) {
            Some(found) if found.is_usable(viewer.user_id, now) => found.unpark(),
            _ => return (None, Finding::NotFound),
        };
        let found = self.look(slot, &viewer.scope, cursor, may_park && !self.is_closing);
        (older, found.unwrap_or_else(|| Finding::Parked(self.park(slot, queue, viewer))))
    }

    /// What there is for a queue after `cursor`. None where that is nothing and the poll `may_park`.
    #[inline]
    fn look(&self, slot: QueueSlot, token: &Scope, cursor: EventId, may_park: bool) -> Option<Finding> {
        let head = self.logs.head();
        if cursor < self.history.base || cursor > head {
            return Some(Finding::Ahead);
        }
        let Some(queue) = self.queues.at(slot) else { return Some(Finding::NotFound) };
        if self.logs.is_below_floor(cursor) {
            return Some(Finding::Catchup);
        }
        let mut events = VisibleEvents::default();
        // A cursor at the head leaves nothing to find. Where the communities are worked out, the memberships are known.
        if cursor < head || !self.lists.has_communities(slot) {
            let Some(timeline) = self.members.get(queue.user()).and_then(Member::timeline) else {
                return Some(Finding::MembershipsUnknown);
            };
            if queue.terms().needs_follows() && self.members.get(queue.user()).and_then(Member::follows).is_none() {
                return Some(Finding::MembershipsUnknown);
            }
            let allowed = |community| queue.terms().scope.allows_both(token, community);
            let reader =
                Reader { cursor, queue, allowed, timeline, members: &self.members, visibilities: &self.visibilities };
            match reader.events(&self.logs, &self.communities) {
                Ok(found) => events = found,
                Err(lost) if queue.terms().only.is_some() => return Some(Finding::Lost(lost)),
                Err(_) => return Some(Finding::Catchup),
            }
        }
        if events.is_empty() && may_park {
            return None;
        }
        let cursor = events.cursor(head);
        Some(Finding::Events(events, cursor))
    }

    #[inline]
    fn park(&mut self, slot: QueueSlot, queue: QueueId, viewer: &Viewer) -> ParkHandle {
        self.parked_polls += 1;
        let (entry, handle) = park(queue, self.parked_polls, self.logs.head(), viewer);
        if let Some(queue) = self.queues.at_mut(slot) {
            queue.park(entry);
        }
        self.enter_lists(slot);
        handle
    }

    /// Takes out a poll that nobody waits for any longer.
    #[inline]
    pub(in crate::realtime::hub) fn unpark(&mut self, handle: &ParkHandle) {
        if let Some(queue) = self.queues.get_mut(handle.queue()) {
            queue.unpark_handle(handle);
        }
    }

    /// Takes out a parked poll whose time is up. Returns what there is for it, or None where it was taken out already.
    pub(in crate::realtime::hub) fn time_out(&mut self, handle: &ParkHandle) -> Option<Finding> {
        let slot = self.queues.slot(handle.queue())?;
        let entry = self.queues.at_mut(slot)?.unpark_handle(handle)?;
        self.look(slot, entry.token(), entry.seen(), false)
    }

    /// Takes out all parked polls, and parks none from now on.
    pub(in crate::realtime::hub) fn close(&mut self) -> Vec<ParkedEntry> {
        self.is_closing = true;
        self.queues.iter_mut().filter_map(Queue::unpark).collect()
    }
}
