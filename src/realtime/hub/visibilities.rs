//! The kinds of communities along the order of events: from which event on and until which anyone may read a community (I5). Those who
//! watch a community without being its members get its events by this.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::{
    directory::Visibility,
    events::{KindAt, KindChange},
    ids::{CommunityId, EventId},
};

/// The end of what has not ended.
const OPEN: EventId = EventId::MAX;

/// A community's kind from an event on. None for one that is gone, and for a kind that only a later release knows: nobody may watch it.
#[derive(Clone, Copy, Debug)]
struct VisibilitySince {
    event_id: EventId,
    visibility: Option<Visibility>,
}

impl VisibilitySince {
    fn is_readable(self) -> bool {
        self.visibility.is_some_and(Visibility::is_readable_by_anyone)
    }
}

/// A part of the order in which anyone may read the community, from the event `first` to the event `last`. The two events that
/// begin and end it are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ReadableSpan {
    first: EventId,
    /// [`OPEN`] while anyone may read it.
    last: EventId,
}

/// A part of a community's log: the events after `after` and before `before`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WatchedPart {
    pub(super) after: EventId,
    pub(super) before: EventId,
}

/// The kinds of one community.
#[derive(Debug)]
pub(super) struct VisibilityTimeline {
    /// Never empty. The first one also stands for what was before it and is kept.
    kinds: Vec<VisibilitySince>,
    /// The newest event that ended a [`ReadableSpan`] that is forgotten.
    closed_through: EventId,
}

impl VisibilityTimeline {
    fn new(kind: &KindAt) -> Self {
        let first = VisibilitySince { event_id: kind.since, visibility: kind.visibility };
        Self { kinds: vec![first], closed_through: kind.closed_at }
    }

    fn last(&self) -> VisibilitySince {
        self.kinds[self.kinds.len() - 1]
    }

    /// Whether anyone may read it now.
    fn is_readable(&self) -> bool {
        self.last().is_readable()
    }

    /// Takes a change when the order comes to it. The community's events up to `gone_through` are gone, so what was before them is
    /// forgotten.
    fn change(&mut self, event_id: EventId, visibility: Option<Visibility>, gone_through: EventId) {
        self.kinds.push(VisibilitySince { event_id, visibility });
        let forgotten = self.kinds[1..].iter().take_while(|kind| kind.event_id <= gone_through).count();
        let mut ends =
            self.kinds[..=forgotten].windows(2).filter(|pair| pair[0].is_readable() && !pair[1].is_readable());
        if let Some(end) = ends.next_back() {
            self.closed_through = end[1].event_id;
        }
        self.kinds.drain(..forgotten);
    }

    fn spans(&self) -> impl Iterator<Item = ReadableSpan> {
        let begins = |at: &usize| self.kinds[*at].is_readable() && (*at == 0 || !self.kinds[*at - 1].is_readable());
        (0..self.kinds.len()).filter(begins).map(|at| {
            let end = self.kinds[at..].iter().find(|kind| !kind.is_readable());
            ReadableSpan { first: self.kinds[at].event_id, last: end.map_or(OPEN, |end| end.event_id) }
        })
    }

    /// The parts of the log that a watcher at `cursor` may get. If nobody but members may read the community any more, these are the
    /// events that say so, and no others, however old they are (I5).
    pub(super) fn parts(&self, cursor: EventId) -> impl Iterator<Item = WatchedPart> {
        let is_readable = self.is_readable();
        self.spans().filter(move |span| span.last > cursor).map(move |span| {
            let first = if is_readable { span.first } else { span.last };
            let before = if span.last == OPEN { OPEN } else { span.last.next() };
            WatchedPart { after: cursor.max(first.minus(1)), before }
        })
    }

    /// A watcher whose cursor is before this event may have missed the end of their watch.
    pub(super) fn closed_through(&self) -> EventId {
        self.closed_through
    }

    /// Whether the community has been open since before an event.
    fn is_open_since(&self, event_id: EventId) -> bool {
        let last = self.last();
        last.visibility == Some(Visibility::Open) && last.event_id < event_id
    }
}

/// The kinds of all communities that anyone could ever read as long as this node remembers.
#[derive(Debug, Default)]
pub(super) struct Visibilities {
    timelines: HashMap<CommunityId, VisibilityTimeline, RandomState>,
}

impl Visibilities {
    pub(super) fn starting_at(kinds: &[KindAt]) -> Self {
        Self { timelines: kinds.iter().map(|kind| (kind.community_id, VisibilityTimeline::new(kind))).collect() }
    }

    pub(super) fn get(&self, community: CommunityId) -> Option<&VisibilityTimeline> {
        self.timelines.get(&community)
    }

    /// Whether anyone may read the community now.
    pub(super) fn is_readable(&self, community: CommunityId) -> bool {
        self.get(community).is_some_and(VisibilityTimeline::is_readable)
    }

    /// Whether the community has been open since before an event. Those who are no members have own events there too.
    pub(super) fn is_open_since(&self, community: CommunityId, event_id: EventId) -> bool {
        self.get(community).is_some_and(|timeline| timeline.is_open_since(event_id))
    }

    /// Takes a change of kind when the order comes to it. The community's events up to `gone_through` are gone.
    pub(super) fn change(
        &mut self,
        community: CommunityId,
        event_id: EventId,
        change: KindChange,
        gone_through: EventId,
    ) {
        let before = KindAt {
            community_id: community,
            visibility: change.previous,
            since: EventId::START,
            closed_at: EventId::START,
        };
        let timeline = self.timelines.entry(community).or_insert_with(|| VisibilityTimeline::new(&before));
        timeline.change(event_id, change.visibility, gone_through);
    }

    /// Takes the kind of a community that is new, or gone, when the order comes to it. What was before is another community, of which a
    /// watcher has nothing to get.
    pub(super) fn set(&mut self, community: CommunityId, event_id: EventId, change: KindChange) {
        let kind = KindAt {
            community_id: community,
            visibility: change.visibility,
            since: event_id,
            closed_at: EventId::START,
        };
        match self.timelines.get_mut(&community) {
            Some(known) => {
                // A new community that is known already was read at the start, from before the event that tells of it.
                let is_gone = change.visibility.is_none() && known.is_readable();
                let closed_at = if is_gone { event_id } else { known.closed_through };
                *known = VisibilityTimeline::new(&KindAt { closed_at, ..kind });
            }
            None => {
                self.timelines.insert(community, VisibilityTimeline::new(&kind));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: Option<Visibility> = Some(Visibility::Public);
    const PRIVATE: Option<Visibility> = Some(Visibility::Private);
    const AT_START: KindAt = KindAt {
        community_id: CommunityId::NONE,
        visibility: PUBLIC,
        since: EventId::START,
        closed_at: EventId::START,
    };

    fn parts(timeline: &VisibilityTimeline, cursor: i64) -> Vec<(i64, i64)> {
        timeline.parts(cursor.into()).map(|part| (part.after.get(), part.before.get())).collect()
    }

    #[test]
    fn a_watcher_gets_the_end_and_nothing_else_of_what_is_private_now() {
        let mut timeline = VisibilityTimeline::new(&AT_START);
        let open = OPEN.get();
        assert_eq!(parts(&timeline, 3), [(3, open)]);
        timeline.change(10.into(), PRIVATE, EventId::START);
        assert_eq!(parts(&timeline, 3), [(9, 11)]);
        assert_eq!(parts(&timeline, 10), []);
        timeline.change(20.into(), PUBLIC, EventId::START);
        assert_eq!(parts(&timeline, 3), [(3, 11), (19, open)], "the time between is not delivered");
        assert_eq!(parts(&timeline, 15), [(19, open)]);
        timeline.change(30.into(), Some(Visibility::Open), EventId::START);
        assert_eq!(parts(&timeline, 3), [(3, 11), (19, open)]);
        assert!(timeline.is_open_since(31.into()) && !timeline.is_open_since(30.into()));
    }

    #[test]
    fn what_is_forgotten_is_known_to_be() {
        let mut timeline = VisibilityTimeline::new(&AT_START);
        timeline.change(10.into(), PRIVATE, EventId::START);
        timeline.change(20.into(), PUBLIC, 15.into());
        assert_eq!(timeline.kinds.len(), 2, "what was before the event 10 is gone");
        assert_eq!(timeline.closed_through().get(), 10);
        timeline.change(30.into(), PRIVATE, 25.into());
        assert_eq!((timeline.kinds.len(), timeline.closed_through().get()), (2, 10));
        timeline.change(40.into(), PRIVATE, 40.into());
        assert_eq!((timeline.kinds.len(), timeline.closed_through().get()), (1, 30));
    }
}
