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
    limits::{ANSWER_BYTES, ANSWER_EVENTS, ANSWER_SKIPS},
    lost::LostEvents,
    members::Members,
    queues::Queue,
    timeline::MembershipTimeline,
    visibilities::Visibilities,
};
use crate::{
    events::Subject,
    ids::{CommunityId, EventId},
    realtime::body,
};

/// The events of one answer.
#[derive(Debug, Default)]
pub(super) struct VisibleEvents {
    events: Vec<LogEntry>,
    /// There may be more after this event, for the next answer.
    cut_at: Option<EventId>,
}

impl VisibleEvents {
    /// Whether there is nothing up to the head.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.cut_at.is_none()
    }

    /// The cursor after these events. `head` is where the queue is if these are all.
    pub(super) fn cursor(&self, head: EventId) -> EventId {
        self.cut_at.unwrap_or(head)
    }

    /// The body of the answer. It may be large, so the hub's lock must be released.
    pub(super) fn body(&self, cursor: EventId) -> Bytes {
        body::events(self.events.iter().map(|event| &event.json), cursor)
    }
}

/// What a reader may see, and wants to.
pub(super) struct Reader<'a, A> {
    /// The reader has seen the events up to this one.
    pub(super) cursor: EventId,
    /// Whose events they are.
    pub(super) queue: &'a Queue,
    /// The communities that the queue and the token are for.
    pub(super) allowed: A,
    pub(super) timeline: &'a MembershipTimeline,
    pub(super) members: &'a Members,
    pub(super) visibilities: &'a Visibilities,
}

impl<A: Fn(CommunityId) -> bool> Reader<'_, A> {
    /// The events that the reader wants, in order, as many as fit into one answer. An error names the events that are gone and of which
    /// the reader may want some.
    ///
    /// This runs under the hub's lock. The logs are merged through a heap and read no further than the answer reaches, so the
    /// work is bounded by the number of communities and by the answer, and not by what the logs hold. Events that the queue does not
    /// want are bounded by [`ANSWER_SKIPS`].
    pub(super) fn events(&self, logs: &EventLogs, communities: &Communities) -> Result<VisibleEvents, Vec<LostEvents>> {
        let mut lost = Vec::new();
        let mut note = |community, after, through| {
            let events = LostEvents { community, after, through };
            if through > after && !self.queue.wants_none(&events) {
                lost.push(events);
            }
        };
        note(None, self.cursor, self.timeline.own_gone_through());
        let own: VecDeque<LogEntry> = self
            .timeline
            .own_events(self.cursor, logs.head(), self.visibilities, &self.allowed)
            .filter(|event| self.queue.wants_own(event.event_type))
            .map(|event| LogEntry {
                event_id: event.event_id,
                json: event.json(),
                subject: Subject::default(),
                shown: None,
            })
            .collect();
        let mut sources = vec![(CommunityId::NONE, own.iter().peekable())];
        for span in self.timeline.spans(self.cursor).filter(|span| (self.allowed)(span.community)) {
            let Some(log) = communities.slot(span.community).and_then(|slot| logs.log(slot)) else { continue };
            let after = self.cursor.max(span.joined);
            note(Some(span.community), after, log.gone_through());
            sources.push((span.community, log.between(after, span.left).peekable()));
        }
        for community in self.queue.terms().watch.iter().copied().filter(|community| (self.allowed)(*community)) {
            let Some(kinds) = self.visibilities.get(community) else { continue };
            note(Some(community), self.cursor, kinds.closed_through());
            let Some(log) = communities.slot(community).and_then(|slot| logs.log(slot)) else { continue };
            for part in kinds.parts(self.cursor) {
                note(Some(community), part.after, log.gone_through().min(part.before.minus(1)));
                sources.push((community, log.between(part.after, part.before).peekable()));
            }
        }
        if !lost.is_empty() {
            return Err(lost);
        }
        Ok(self.merge(sources))
    }

    fn merge(&self, mut sources: Vec<(CommunityId, Peekable<vec_deque::Iter<'_, LogEntry>>)>) -> VisibleEvents {
        let mut found = VisibleEvents::default();
        let (mut bytes, mut skips, mut last) = (0, 0, self.cursor);
        let next = |source: usize, sources: &mut [(CommunityId, Peekable<vec_deque::Iter<'_, LogEntry>>)]| {
            sources[source].1.peek().map(|event| Reverse((event.event_id, source)))
        };
        let mut heap: BinaryHeap<_> = (0..sources.len()).filter_map(|source| next(source, &mut sources)).collect();
        while let Some(Reverse((_, source))) = heap.pop() {
            let community = sources[source].0;
            let Some(event) = sources[source].1.next() else { continue };
            if event.event_id <= last {
                // Members who watch find it twice.
                heap.extend(next(source, &mut sources));
                continue;
            }
            if community != CommunityId::NONE
                && !self.queue.wants(community, event.event_id, &event.subject, self.members)
            {
                skips += 1;
            } else {
                bytes += event.json.len();
                if found.events.len() == ANSWER_EVENTS || (bytes > ANSWER_BYTES && !found.events.is_empty()) {
                    found.cut_at = Some(last);
                    break;
                }
                found.events.push(event.clone());
            }
            last = event.event_id;
            if skips == ANSWER_SKIPS {
                found.cut_at = Some(last);
                break;
            }
            heap.extend(next(source, &mut sources));
        }
        found
    }
}
