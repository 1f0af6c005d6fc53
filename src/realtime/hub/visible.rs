//! The events that a queue may see after a cursor.

use bytes::Bytes;

use super::{
    communities::Communities, community_log::LogEntry, event_logs::EventLogs, limits::ANSWER_EVENTS,
    timeline::MembershipTimeline,
};
use crate::ids::{CommunityId, EventId};

/// The events after `cursor` of the communities that are `allowed`, in order: of each community one more than fits into an
/// answer at most. None where some are gone.
pub(super) fn events_after(
    cursor: EventId,
    logs: &EventLogs,
    communities: &Communities,
    timeline: &MembershipTimeline,
    allowed: impl Fn(CommunityId) -> bool,
) -> Option<Vec<LogEntry>> {
    let mut events = Vec::new();
    let mut sources = 0;
    for span in timeline.spans(cursor).filter(|span| allowed(span.community)) {
        let Some(log) = communities.slot(span.community).and_then(|slot| logs.log(slot)) else { continue };
        let after = cursor.max(span.joined);
        if log.has_lost_after(after) {
            return None;
        }
        let before = events.len();
        events.extend(log.between(after, span.left).take(ANSWER_EVENTS + 1).cloned());
        sources += usize::from(events.len() > before);
    }
    let own = timeline.own_events(cursor, logs.head(), allowed)?;
    if !own.is_empty() {
        sources += 2;
        events.extend(own.iter().map(|event| {
            let json = serde_json::to_vec(event).expect("an event of numbers and names serialises");
            LogEntry { event_id: event.event_id, json: Bytes::from(json) }
        }));
    }
    // One log is in order already.
    if sources > 1 {
        events.sort_unstable_by_key(|event| event.event_id);
    }
    Some(events)
}
