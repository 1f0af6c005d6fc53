//! The events that a queue may see after a cursor.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque, vec_deque},
    iter::Peekable,
};

use bytes::Bytes;

use super::{
    communities::Communities,
    community_log::LogEntry,
    event_logs::EventLogs,
    limits::{ANSWER_BYTES, ANSWER_EVENTS},
    timeline::MembershipTimeline,
};
use crate::{
    ids::{CommunityId, EventId},
    realtime::body,
};

/// The events of one answer.
#[derive(Debug, Default)]
pub(super) struct VisibleEvents {
    events: Vec<LogEntry>,
    /// There are more, for the next answer.
    is_cut: bool,
}

impl VisibleEvents {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The cursor after these events. `head` is where the queue is if these are all.
    pub(super) fn cursor(&self, head: EventId) -> EventId {
        self.events.last().filter(|_| self.is_cut).map_or(head, |event| event.event_id)
    }

    /// The body of the answer. It may be large, so the hub's lock must be released.
    pub(super) fn body(&self, cursor: EventId) -> Bytes {
        body::events(self.events.iter().map(|event| &event.json), cursor)
    }
}

/// The events after `cursor` of the communities that are `allowed`, in order, as many as fit into one answer. None where some
/// are gone.
///
/// This runs under the hub's lock. The logs are merged through a heap and read no further than the answer reaches, so the
/// work is bounded by the number of communities and by the answer, and not by what the logs hold.
pub(super) fn events_after(
    cursor: EventId,
    logs: &EventLogs,
    communities: &Communities,
    timeline: &MembershipTimeline,
    allowed: impl Fn(CommunityId) -> bool,
) -> Option<VisibleEvents> {
    let own: VecDeque<LogEntry> = timeline
        .own_events(cursor, logs.head(), &allowed)?
        .map(|event| LogEntry { event_id: event.event_id, json: event.json(), shown: None })
        .collect();
    let mut sources = vec![own.iter().peekable()];
    for span in timeline.spans(cursor).filter(|span| allowed(span.community)) {
        let Some(log) = communities.slot(span.community).and_then(|slot| logs.log(slot)) else { continue };
        let after = cursor.max(span.joined);
        if log.has_lost_after(after) {
            return None;
        }
        sources.push(log.between(after, span.left).peekable());
    }

    let mut found = VisibleEvents::default();
    let mut bytes = 0;
    let next = |source: usize, sources: &mut [Peekable<vec_deque::Iter<'_, LogEntry>>]| {
        sources[source].peek().map(|event| Reverse((event.event_id, source)))
    };
    let mut heap: BinaryHeap<_> = (0..sources.len()).filter_map(|source| next(source, &mut sources)).collect();
    while let Some(Reverse((_, source))) = heap.pop() {
        let Some(event) = sources[source].next() else { continue };
        bytes += event.json.len();
        if found.events.len() == ANSWER_EVENTS || (bytes > ANSWER_BYTES && !found.is_empty()) {
            found.is_cut = true;
            break;
        }
        found.events.push(event.clone());
        heap.extend(next(source, &mut sources));
    }
    Some(found)
}
