//! Watching communities without membership.

use std::sync::Arc;

use super::HubState;
use crate::{
    events::{KindChange, SequencedEvent},
    ids::{CommunityId, EventId, QueueId},
    realtime::hub::parked::{AnswerSender, ParkedEntry},
};

impl HubState {
    /// Works out anew what those who watch the community wait for, because its kind has changed. Takes out the polls that get the event and did
    /// not wait for it: it says that anyone may read the community from now on.
    pub(super) fn renew_watchers(&mut self, event: &SequencedEvent) -> Vec<AnswerSender> {
        let id = event.community_id;
        let watchers = self.watchers.of(id);
        let mut woken = Vec::new();
        if self.visibilities.is_readable(id) {
            for slot in &watchers {
                if let Some(queue) = self.queues.at_mut(*slot)
                    && queue.wants(id, event.event_id, &event.subject, &self.members)
                {
                    woken.extend(queue.unpark_for(id).map(ParkedEntry::into_sender));
                }
            }
        }
        self.renew_lists(&watchers);
        woken
    }

    /// Takes the kind of a community that is new, or gone. It has no event.
    pub(super) fn set_kind(&mut self, community: CommunityId, event_id: EventId, change: KindChange) {
        self.visibilities.set(community, event_id, change);
        let watchers = self.watchers.of(community);
        self.renew_lists(&watchers);
    }

    /// Makes the queue watch these communities and no others. Returns its parked poll, whose cursor may have more events after it now.
    pub(in crate::realtime::hub) fn set_watch(
        &mut self,
        queue: QueueId,
        watch: &Arc<[CommunityId]>,
    ) -> Option<ParkedEntry> {
        let slot = self.queues.slot(queue)?;
        let queue = self.queues.at_mut(slot)?;
        if queue.terms().watch == *watch {
            return None;
        }
        self.watchers.add(slot, watch);
        let before = queue.set_watch(Arc::clone(watch));
        let left: Vec<_> = before.iter().copied().filter(|id| watch.binary_search(id).is_err()).collect();
        self.watchers.remove(slot, &left);
        self.lists.forget(slot);
        queue.unpark()
    }
}
