//! What a poll gets: events, or a place to wait at.

use tokio::time::Instant;

use super::HubState;
use crate::{
    directory::Scope,
    ids::{EventId, QueueId, UserId},
    realtime::{
        body,
        hub::{
            PollOutcome,
            limits::ANSWER_EVENTS,
            members::Member,
            parked::{ParkHandle, ParkedEntry, park},
            queues::{Queue, QueueSlot},
            visible,
        },
    },
};

impl HubState {
    /// Polls a queue; see [`crate::realtime::hub::Hub::poll`]. The poll that was parked there before is the caller's to release.
    pub(in crate::realtime::hub) fn poll(
        &mut self,
        queue: QueueId,
        user: UserId,
        token: &Scope,
        cursor: EventId,
        may_park: bool,
        now: Instant,
    ) -> (Option<ParkedEntry>, PollOutcome) {
        let Some(slot) = self.queues.slot(queue) else { return (None, PollOutcome::NotFound) };
        let older = match self.queues.at_mut(slot) {
            Some(found) if found.is_usable(user, now) => found.unpark(),
            _ => return (None, PollOutcome::NotFound),
        };
        let outcome = self.look(slot, token, cursor, may_park && !self.is_closing);
        (older, outcome.unwrap_or_else(|| PollOutcome::Parked(self.park(slot, queue, token.clone()))))
    }

    /// What there is for a queue after `cursor`. None where that is nothing and the poll `may_park`.
    fn look(&self, slot: QueueSlot, token: &Scope, cursor: EventId, may_park: bool) -> Option<PollOutcome> {
        let head = self.logs.head();
        if cursor < self.history.base || cursor > head {
            return Some(PollOutcome::Ahead);
        }
        let Some(queue) = self.queues.at(slot) else { return Some(PollOutcome::NotFound) };
        if self.logs.is_below_floor(cursor) {
            return Some(PollOutcome::Catchup);
        }
        let mut events = Vec::new();
        // A cursor at the head leaves nothing to find. Where the communities are worked out, the memberships are known.
        if cursor < head || !self.lists.has_communities(slot) {
            let Some(timeline) = self.members.get(queue.user()).and_then(Member::timeline) else {
                return Some(PollOutcome::MembershipsUnknown);
            };
            let allowed = |community| queue.scope().allows_both(token, community);
            match visible::events_after(cursor, &self.logs, &self.communities, timeline, allowed) {
                Some(found) => events = found,
                None => return Some(PollOutcome::Catchup),
            }
        }
        if events.is_empty() && may_park {
            return None;
        }
        let is_cut = events.len() > ANSWER_EVENTS;
        events.truncate(ANSWER_EVENTS);
        let last = events.last().filter(|_| is_cut).map_or(head, |event| event.event_id);
        Some(PollOutcome::Answer(body::events(events.iter().map(|event| &event.json), last)))
    }

    fn park(&mut self, slot: QueueSlot, queue: QueueId, token: Scope) -> ParkHandle {
        self.parked_polls += 1;
        let (entry, handle) = park(queue, self.parked_polls, self.logs.head(), token);
        if let Some(queue) = self.queues.at_mut(slot) {
            queue.park(entry);
        }
        self.enter_lists(slot);
        handle
    }

    /// Takes out a poll that nobody waits for any longer.
    pub(in crate::realtime::hub) fn unpark(&mut self, handle: &ParkHandle) {
        if let Some(queue) = self.queues.get_mut(handle.queue()) {
            queue.unpark_handle(handle);
        }
    }

    /// Takes out a parked poll whose time is up. Returns what there is for it, or None where it was taken out already.
    pub(in crate::realtime::hub) fn time_out(&mut self, handle: &ParkHandle) -> Option<PollOutcome> {
        let slot = self.queues.slot(handle.queue())?;
        let entry = self.queues.at_mut(slot)?.unpark_handle(handle)?;
        self.look(slot, entry.token(), handle.seen(), false)
    }

    /// Takes out all parked polls, and parks none from now on.
    pub(in crate::realtime::hub) fn close(&mut self) -> Vec<ParkedEntry> {
        self.is_closing = true;
        self.queues.iter_mut().filter_map(Queue::unpark).collect()
    }
}
